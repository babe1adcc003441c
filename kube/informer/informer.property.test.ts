import { setImmediate as turn } from 'node:timers/promises';
import fc from 'fast-check';
import { Kube } from '../client/kube.ts';
import type { KubeObject } from '../client/types.ts';
import { Backoff } from '../controller/backoff.ts';
import { FakeCollection, spell } from '../testing/fake-collection.ts';
import { FakeServer } from '../testing/fake-server.ts';
import { WIDGETS } from '../testing/types.ts';
import { Informer } from './informer.ts';

const name = fc.constantFrom('a', 'b', 'c', 'd', 'e');
const step = fc.oneof(
  { weight: 6, arbitrary: fc.record({ what: fc.constant('put' as const), name }) },
  { weight: 4, arbitrary: fc.record({ what: fc.constant('remove' as const), name }) },
  { weight: 4, arbitrary: fc.record({ what: fc.constantFrom('forget', 'bookmark', 'end', 'break', 'wait'), name: fc.constant('') }) },
);

test('whatever happens to objects and connections, store and listeners end up with what the server has', async () => {
  await using server = await FakeServer.start(() => {});
  await fc.assert(
    fc.asyncProperty(fc.array(step, { minLength: 5, maxLength: 40 }), async (steps) => {
      const collection = new FakeCollection();
      server.handler = collection.handler;
      const kube = Kube.fromUrl(server.url);
      const informer = new Informer<KubeObject>(kube, WIDGETS, { backoff: new Backoff(1, 4) });
      const failures: unknown[] = [];
      const told = new Map<string, string>();
      informer.subscribe(({ type, object, previous }) => {
        const { name: key, uid = '' } = object.metadata;
        // No object is applied over one with another uid, nor deleted twice, nor deleted without having been there.
        const known = told.get(key)?.split(' ')[1];
        const fits = type === 'deleted' ? known === uid : known === undefined || known === uid;
        if (!fits || (previous?.metadata.uid ?? uid) !== uid) failures.push(`${type} ${spell(object)} after ${told.get(key)}`);
        if (type === 'deleted') told.delete(key);
        else told.set(key, spell(object));
      });
      const stop = new AbortController();
      const run = informer.run(stop.signal).catch((error: unknown) => failures.push(error));
      for (const { what, name: key } of steps) {
        if (what === 'put') collection.put(key);
        else if (what === 'remove') collection.remove(key);
        else if (what === 'forget') collection.forget();
        else if (what === 'bookmark') collection.bookmark();
        else if (what === 'end') collection.end('well');
        else if (what === 'break') collection.end('broken');
        else for (let i = 0; i < 20; i++) await turn();
      }
      collection.put('last');
      const wanted = collection.contents;
      const last = wanted.find((each) => each.startsWith('last'));
      await informer.waitFor('last', (now) => now !== undefined && spell(now) === last, { timeoutMs: 30_000 });
      expect(informer.list().map(spell).sort()).toStrictEqual(wanted);
      expect([...told.values()].sort()).toStrictEqual(wanted);
      stop.abort();
      await run;
      kube.close();
      expect(failures).toStrictEqual([]);
    }),
    { numRuns: 150 },
  );
}, 60_000);
