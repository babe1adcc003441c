import type { MountPoint } from '../contracts.ts';
import { unmountLayers } from './unmount-layers.ts';

const signal = new AbortController().signal;

/** A mount table; `stuck` keeps what is unmounted. */
function tableOf(devices: string[], { stuck = false } = {}) {
  const unmounted: string[] = [];
  const mounts = devices.map((device) => ({ target: '/a', device }) as MountPoint);
  return {
    unmounted,
    mounter: {
      list: async () => [...mounts],
      unmount: async (_target: string, { lazy }: { lazy?: boolean }) => {
        unmounted.push(`${mounts.at(-1)?.device}${lazy ? ' lazily' : ''}`);
        if (!stuck) mounts.pop();
      },
    },
  };
}

test('unmountLayers() unmounts all layers, from the top', async () => {
  const { mounter, unmounted } = tableOf(['1', '2']);
  expect(await unmountLayers(mounter, '/a', { signal })).toBeUndefined();
  expect(unmounted).toStrictEqual(['2', '1']);
  expect(await unmountLayers(mounter, '/a', { signal })).toBeUndefined();
});

test('unmountLayers() stops at the mount to keep, and detaches lazily what it is told to', async () => {
  const { mounter, unmounted } = tableOf(['1', '2', '3']);
  const kept = await unmountLayers(mounter, '/a', { keep: ({ device }) => device === '1', isLazy: ({ device }) => device === '3', signal });
  expect(kept?.device).toBe('1');
  expect(unmounted).toStrictEqual(['3 lazily', '2']);
});

test('unmountLayers() gives up on a table that does not change', async () => {
  await expect(unmountLayers(tableOf(['1'], { stuck: true }).mounter, '/a', { signal })).rejects.toThrow(/unmount them by hand/);
});
