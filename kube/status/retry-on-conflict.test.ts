import { KubeError } from '../client/error.ts';
import { retryOnConflict } from './retry-on-conflict.ts';

const conflict = () => new KubeError(409, 'Conflict', 'changed');

test('the change is decided on again with what others have written', async () => {
  const written: string[] = [];
  const write = async (current: string) => {
    written.push(current);
    if (written.length < 3) throw conflict();
    return current;
  };
  const read = async () => `version ${written.length}`;
  const { signal } = new AbortController();
  expect(await retryOnConflict('version 0', { write, read, signal })).toBe('version 2');
  expect(written).toStrictEqual(['version 0', 'version 1', 'version 2']);
});

test('who aborts it in a pause gets the reason back', async () => {
  const stop = new AbortController();
  const reason = new Error('no longer wanted');
  let tries = 0;
  const write = async () => {
    if (++tries === 2) setImmediate(() => stop.abort(reason));
    throw conflict();
  };
  await expect(retryOnConflict('first', { write, read: async () => 'again', signal: stop.signal })).rejects.toBe(reason);
  expect(tries).toBe(2);
});
