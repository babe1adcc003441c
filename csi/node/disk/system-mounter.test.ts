import { SystemMounter } from './system-mounter.ts';

test('a failed unmount of a path that is no mount is success: only the mount table counts', async () => {
  const mounter = new SystemMounter(async () => {
    throw new Error('not mounted');
  });
  await mounter.unmount('/no/such/mount', { signal: AbortSignal.timeout(1000) });
  await expect(mounter.unmount('/proc', { signal: AbortSignal.timeout(1000) })).rejects.toThrow(/still mounted/);
});
