import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { csi, int64, RpcClient } from '../../rpc/mod.ts';
import { FakeAgent } from './fake-agent.ts';
import { announceNode, makePool, reportPool } from './objects.ts';
import { Program } from './programs.ts';
import { ApiServer, freePorts, type Requested, unavailable } from './server.ts';

const { v1 } = csi;
const [OPERATOR = '', CONTROLLER = ''] = (await freePorts(2)).map((port) => `127.0.0.1:${port}`);
const capability = { mount: { fsType: '' }, accessMode: { mode: v1.VolumeCapability.AccessMode.Mode.SINGLE_NODE_WRITER } };

const CREATED = ['aoe-csi create aoevolumes 201', 'aoe-csi-operator patch aoevolumes 200', 'aoe-csi-operator patch aoevolumes/status 200'];
const DELETED = ['aoe-csi delete aoevolumes 200', 'aoe-csi get aoevolumes 200', 'aoe-csi patch aoevolumes 200'];
/** More than the operator's status waits for changes that belong together: so long nothing more may come. */
const QUIET_MS = 2_500;
const ATTEMPTS = 5;

/**
 * The agent's report came so late that the operator's status, which waits for it a second, may have been due before: then it is rightly
 * written a second time.
 */
function isLate(requests: readonly Requested[]): boolean {
  const at = (what: string): number => requests.find((each) => each.what === what)?.at ?? Number.NaN;
  const [, placed = '', reported = ''] = CREATED;
  const reports = requests.filter(({ what }) => what === 'kubernetes-client patch aoevolumes/status 200').map((each) => each.at);
  return Math.max(...reports) - at(placed) >= 700 || at(reported) - at(placed) >= 1_300;
}

/** The agent let the volume go so late that the operator's status, which waits for it a second, may have been due before. */
function isLateEnd(requests: readonly Requested[]): boolean {
  const times = (what: string): number[] => requests.filter((each) => each.what === what).map(({ at }) => at);
  return Math.max(...times('kubernetes-client patch aoevolumes 200')) - Math.min(...times('aoe-csi delete aoevolumes 200')) >= 700;
}

test.skipIf(unavailable)('a claim is made and deleted with no more writes than it takes, and without conflicts', async () => {
  const directory = mkdtempSync(join(tmpdir(), 'writes-'));
  onTestFinished(() => rmSync(directory, { recursive: true, force: true }));
  const stop = new AbortController();
  onTestFinished(() => stop.abort());
  await using server = await ApiServer.start({ audit: true });
  const kube = server.kube();
  void new FakeAgent(kube).run(stop.signal);
  await makePool(kube, 'default');
  await announceNode(kube, 'storage-1');
  await reportPool(kube, 'default', { name: 'storage-1', ready: true, size: '100Gi', free: '100Gi', granularity: '4Mi' });
  const socket = join(directory, 'csi.sock');
  const common = [`--kubeconfig=${server.kubeconfig}`];
  await using operator = new Program('operator/main.ts', [...common, `--http=${OPERATOR}`, '--namespace=default']);
  await using controller = new Program('csi/main.ts', ['controller', ...common, `--http=${CONTROLLER}`, `--endpoint=unix://${socket}`]);
  await Promise.all([operator.ready(OPERATOR), controller.ready(CONTROLLER)]);
  const client = new RpcClient(v1.Controller, v1, socket);
  onTestFinished(() => client.close());

  let seen = 0;
  const ofPrograms = (all: readonly Requested[]): string[] =>
    all
      .map(({ what }) => what)
      .filter((what) => /^aoe-csi.* aoevolumes/.test(what))
      .sort();
  /** Requests since the last call: until there are as many about AoEVolumes as are wanted, and those that still come after that. */
  const requests = async (wanted: readonly string[]): Promise<Requested[]> => {
    const limit = Date.now() + 60_000;
    while (ofPrograms(server.requests().slice(seen)).length < wanted.length && Date.now() < limit) await delay(50);
    await delay(QUIET_MS);
    const all = server.requests();
    const news = all.slice(seen);
    seen = all.length;
    return news;
  };
  await requests([]);
  for (let attempt = 1; ; attempt++) {
    const name = `pvc-${attempt}`;
    const request = { name, capacityRange: { requiredBytes: int64(1024 ** 3) }, volumeCapabilities: [capability] };
    await client.call('createVolume', request, { timeoutMs: 60_000 });
    const created = await requests(CREATED);
    await client.call('deleteVolume', { volumeId: name }, { timeoutMs: 60_000 });
    const deleted = await requests(DELETED);
    const late =
      (ofPrograms(created).length > CREATED.length && isLate(created)) ||
      (ofPrograms(deleted).length > DELETED.length && isLateEnd(deleted));
    if (late && attempt < ATTEMPTS) continue;
    expect(ofPrograms(created)).toStrictEqual(CREATED);
    expect(ofPrograms(deleted)).toStrictEqual(DELETED);
    return;
  }
});
