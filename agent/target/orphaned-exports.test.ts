import { pino } from 'pino';
import { OrphanedExports } from './orphaned-exports.ts';

const { signal } = new AbortController();
const named = (uid: string) => ({ metadata: { name: uid, uid } });

/** A target that serves these volumes; the watch shows some AoEVolumes, and the API server has some. */
function world({ served, watched = [], existing = [] }: { served: string[]; watched?: string[]; existing?: string[] }) {
  const target = {
    connected: true,
    states: () => served.map((uid) => ({ volume: { uid } })),
    unexport: async (uid: string) => {
      served.splice(served.indexOf(uid), 1);
    },
  };
  const lists = { count: 0 };
  const kube = {
    list: async () => {
      lists.count++;
      return { items: existing.map(named), resourceVersion: '1' };
    },
  };
  const it = new OrphanedExports({
    kube: kube as never,
    volumes: { list: () => watched.map(named) as never },
    target: target as never,
    log: pino({ level: 'silent' }),
  });
  return { it, target, served, watched, lists };
}

test('an exported volume without an AoEVolume is taken off the segment when it is found twice', async () => {
  const { it, served } = world({ served: ['u-1', 'u-2'], watched: ['u-1'] });
  await it.check(signal);
  expect(served).toStrictEqual(['u-1', 'u-2']);
  await it.check(signal);
  expect(served).toStrictEqual(['u-1']);
});

test('a volume whose AoEVolume the API server has stays, whatever the watch shows', async () => {
  const { it, served } = world({ served: ['u-1'], existing: ['u-1'] });
  await it.check(signal);
  await it.check(signal);
  expect(served).toStrictEqual(['u-1']);
});

test('a volume is no longer a suspect once its AoEVolume turns up', async () => {
  const { it, served, watched, lists } = world({ served: ['u-1'] });
  await it.check(signal);
  watched.push('u-1');
  await it.check(signal);
  watched.pop();
  await it.check(signal);
  expect(served).toStrictEqual(['u-1']);
  expect(lists.count).toBe(0);
});

test('nothing is decided while the target is away, and a failure of the target is an error', async () => {
  const { it, served, target } = world({ served: ['u-1'] });
  await it.check(signal);
  target.connected = false;
  await it.check(signal);
  expect(served).toStrictEqual(['u-1']);
  const failing = world({ served: ['u-1'] });
  await failing.it.check(signal);
  failing.target.unexport = () => Promise.reject(new Error('gone'));
  await expect(failing.it.check(signal)).rejects.toThrow('gone');
});
