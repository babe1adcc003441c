import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { AOE_POOLS } from '../../api/resources.ts';
import type { Kube } from '../../kube/mod.ts';
import { render } from '../chart/helm.ts';
import { makePool } from './objects.ts';
import { Program } from './programs.ts';
import { ApiServer, freePorts, unavailable } from './server.ts';

const STOPPED_MS = 60_000;
const [LEADER = '', STANDBY = '', CONTROLLER = ''] = (await freePorts(3)).map((port) => `127.0.0.1:${port}`);

interface Probe {
  periodSeconds: number;
  timeoutSeconds: number;
  failureThreshold: number;
}

/** Probes as the kubelet does, until the signal is aborted. @returns the most failures in a row */
async function probe(address: string, { periodSeconds, timeoutSeconds }: Probe, signal: AbortSignal): Promise<number> {
  let [most, failures] = [0, 0];
  while (!signal.aborted) {
    const next = delay(periodSeconds * 1000, undefined, { signal }).catch(() => {});
    const limit = AbortSignal.any([AbortSignal.timeout(timeoutSeconds * 1000), signal]);
    const answer = await fetch(`http://${address}/healthz`, { signal: limit }).catch(() => undefined);
    if (signal.aborted) break;
    failures = answer?.ok ? 0 : failures + 1;
    most = Math.max(most, failures);
    await next;
  }
  return most;
}

describe.skipIf(unavailable)('a program that gets no CPU time for a minute', () => {
  const directory = mkdtempSync(join(tmpdir(), 'stopped-'));
  let server: ApiServer;
  let kube: Kube;

  beforeAll(async () => {
    server = await ApiServer.start();
    kube = server.kube();
  });
  afterAll(async () => {
    kube?.close();
    await server?.stop();
    rmSync(directory, { recursive: true, force: true });
  });

  test('is not restarted by its probe, and goes on with its work', async () => {
    const common = [`--kubeconfig=${server.kubeconfig}`];
    const operator = (address: string) =>
      new Program('operator/main.ts', [...common, `--http=${address}`, '--namespace=default', `--identity=${address}`]);
    await using leader = operator(LEADER);
    await leader.ready(LEADER);
    await using standby = operator(STANDBY);
    const socket = `unix://${join(directory, 'csi.sock')}`;
    await using controller = new Program('csi/main.ts', ['controller', ...common, `--http=${CONTROLLER}`, `--endpoint=${socket}`]);
    await Promise.all([standby.ready(STANDBY), controller.ready(CONTROLLER)]);
    const containers = (await render()).flatMap((manifest) => manifest.spec?.template?.spec.containers ?? []);
    const livenessProbe = (name: string): Probe => containers.find((each) => each.name === name).livenessProbe;

    const over = new AbortController();
    const probes = [
      probe(STANDBY, livenessProbe('operator'), over.signal),
      probe(CONTROLLER, livenessProbe('csi-controller'), over.signal),
    ];
    const stopped = [standby, controller];
    for (const { pid } of stopped) process.kill(pid, 'SIGSTOP');
    await delay(STOPPED_MS);
    for (const { pid } of stopped) process.kill(pid, 'SIGCONT');
    for (const address of [STANDBY, CONTROLLER]) expect((await fetch(`http://${address}/healthz`)).status, address).toBe(200);
    await Promise.all([standby.ready(STANDBY), controller.ready(CONTROLLER)]);
    over.abort();
    for (const failures of await Promise.all(probes)) expect(failures).toBeLessThan(livenessProbe('operator').failureThreshold - 1);

    // The standby leads when the leader is gone, and works.
    await leader.stop();
    await makePool(kube, 'default');
    const limit = Date.now() + 40_000;
    for (;;) {
      const pool = (await kube.get(AOE_POOLS, 'default')) as {
        status?: { conditions?: unknown[] };
      };
      if (pool.status?.conditions) break;
      expect(Date.now(), standby.log.slice(-2_000)).toBeLessThan(limit);
      await delay(100);
    }
  });
});
