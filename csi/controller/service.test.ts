import { KubeError } from '../../kube/mod.ts';
import { Code } from '../../rpc/status.ts';
import { controllerService } from './service.ts';
import { call } from './testing/fake-cluster.ts';
import { fakeDeps, putVolume } from './testing/fake-deps.ts';

const get = { volumeId: 'v' } as never;

test('an error of a call keeps its code', async () => {
  const { deps, warnings } = fakeDeps();
  await expect(controllerService(deps).controllerGetVolume(get, call())).rejects.toMatchObject({ code: Code.NOT_FOUND });
  expect(warnings).toStrictEqual([]);
});

test('when the API server refuses or is away, or there is a fault, the caller is told to try again', async () => {
  for (const error of [
    new KubeError(503, 'Unreachable', 'connection refused'),
    new KubeError(403, 'Forbidden', 'no'),
    new TypeError('x'),
  ]) {
    const { deps, api, warnings } = fakeDeps();
    api.failNext('get', error);
    await expect(controllerService(deps).controllerGetVolume(get, call())).rejects.toMatchObject({
      code: Code.UNAVAILABLE,
      message: expect.stringMatching(/^ControllerGetVolume: /),
    });
    expect(warnings).toHaveLength(1);
  }
});

test('a call that was cancelled says so', async () => {
  const { deps, api } = fakeDeps();
  putVolume(api, 'v');
  api.failNext('get', new Error('aborted'));
  const cancelled = { ...call(), signal: AbortSignal.abort() };
  await expect(controllerService(deps).controllerGetVolume(get, cancelled)).rejects.toMatchObject({ code: Code.DEADLINE_EXCEEDED });
});

test('it has capabilities, and the call of the last one is served', async () => {
  const { deps } = fakeDeps();
  const service = controllerService(deps);
  const { capabilities } = await service.controllerGetCapabilities({} as never, call());
  expect(capabilities?.length).toBeGreaterThan(0);
  await expect(service.controllerModifyVolume({} as never, call())).rejects.toMatchObject({ code: Code.INVALID_ARGUMENT });
});
