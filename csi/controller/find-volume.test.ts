import { Code } from '../../rpc/status.ts';
import { findVolume } from './find-volume.ts';
import { call } from './testing/fake-cluster.ts';
import { fakeDeps, putVolume } from './testing/fake-deps.ts';

test('a volume is found by its name; a name that no resource can have is not looked for', async () => {
  const { api, deps } = fakeDeps();
  putVolume(api, 'v');
  expect((await findVolume(deps, 'v', call())).metadata.name).toBe('v');
  const notFound = expect.objectContaining({ code: Code.NOT_FOUND });
  await expect(findVolume(deps, 'x', call())).rejects.toStrictEqual(notFound);
  api.failNext('get', new Error('asked'));
  for (const name of ['../aoepools/p', 'V', 'a/b']) await expect(findVolume(deps, name, call())).rejects.toStrictEqual(notFound);
});
