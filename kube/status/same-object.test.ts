import { KubeError } from '../client/error.ts';
import type { KubeObject } from '../client/types.ts';
import { writeToSame } from './same-object.ts';

const { signal } = new AbortController();
const object = (uid: string, resourceVersion: string): KubeObject => ({ metadata: { name: 'v1', uid, resourceVersion } });
const conflict = () => new KubeError(409, 'Conflict', 'the object has been modified');

/** A server that has one object, which somebody else changes before each of the first `changes` writes. */
function server(first: KubeObject, changes: ((now: KubeObject) => KubeObject | undefined)[]) {
  let now: KubeObject | undefined = first;
  const writes: (string | undefined)[] = [];
  return {
    writes,
    read: async () => now,
    write: async (version: string | undefined) => {
      writes.push(version);
      const change = changes.shift();
      if (change && now) now = change(now);
      if (!now) throw new KubeError(404, 'NotFound', 'not found');
      if (version !== now.metadata.resourceVersion) throw conflict();
      return now;
    },
    signal,
  };
}

test('the version that was read goes into the write', async () => {
  const it = server(object('a', '5'), []);
  expect((await writeToSame(object('a', '5'), it))?.metadata.uid).toBe('a');
  expect(it.writes).toStrictEqual(['5']);
});

test('a change by somebody else does not stand in the way', async () => {
  const it = server(object('a', '5'), [() => object('a', '6'), () => object('a', '7')]);
  expect((await writeToSame(object('a', '5'), it))?.metadata.resourceVersion).toBe('7');
  expect(it.writes).toStrictEqual(['5', '6', '7']);
});

test('an object created again under the same name gets nothing', async () => {
  const it = server(object('a', '5'), [() => object('b', '9')]);
  expect(await writeToSame(object('a', '5'), it)).toBeUndefined();
  expect(it.writes).toStrictEqual(['5']);
});

test('an object that is gone is no error', async () => {
  expect(await writeToSame(object('a', '5'), server(object('a', '5'), [() => undefined]))).toBeUndefined();
});

test('it ends when others change the object for ever', async () => {
  const changes = Array.from({ length: 20 }, (_, i) => () => object('a', String(6 + i)));
  await expect(writeToSame(object('a', '5'), server(object('a', '5'), changes))).rejects.toSatisfy(
    (error) => error instanceof KubeError && error.code === 409,
  );
});
