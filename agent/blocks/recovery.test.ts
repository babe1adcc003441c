import type { AoEPool } from '../../api/pool.ts';
import { SILENT } from '../../kube/client/types.ts';
import type { Backend } from '../backends/backend.ts';
import { recoverBlocks } from './recovery.ts';

const named = (name: string) => ({ metadata: { name } }) as AoEPool;

test('what a crash may have left of lists is looked for in each pool, once the pools are known, and again and again', async () => {
  const stop = new AbortController();
  const known = Promise.withResolvers<void>();
  const list = [named('broken'), named('without'), named('hangs'), named('thin')];
  const looks: string[] = [];
  const enough = Promise.withResolvers<void>();
  const recover = async (name: string, signal: AbortSignal): Promise<void> => {
    looks.push(name);
    if (looks.filter((each) => each === 'thin').length === 3) enough.resolve();
    if (name === 'broken') throw new Error('this pool is not on this node');
    if (name === 'hangs') await new Promise((_, reject) => signal.addEventListener('abort', () => reject(signal.reason), { once: true }));
  };
  const running = recoverBlocks(
    {
      pools: { list: () => list, synced: known.promise },
      backendOf: ({ metadata: { name } }) => {
        const blocks = { recover: (signal: AbortSignal) => recover(name, signal) };
        return { snapshots: name === 'without' ? {} : { blocks } } as unknown as Backend;
      },
      log: SILENT,
      everyMs: 20,
    },
    stop.signal,
  );
  await new Promise(setImmediate);
  expect(looks).toStrictEqual([]);
  known.resolve();
  await enough.promise;
  expect(looks.slice(0, 3)).toStrictEqual(['broken', 'hangs', 'thin']);
  expect(looks.filter((each) => each === 'hangs').length).toBeGreaterThan(1);
  stop.abort();
  await running;
});

test('it ends while the pools are not known yet', async () => {
  const stop = new AbortController();
  const options = { pools: { list: () => [], synced: new Promise<void>(() => {}) }, backendOf: () => ({}) as Backend, log: SILENT };
  const running = recoverBlocks(options, stop.signal);
  stop.abort();
  await running;
});
