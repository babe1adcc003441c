import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { csi, int64, RpcClient } from '../../rpc/mod.ts';
import { FakeAgent } from './fake-agent.ts';
import { announceNode, makePool, reportPool } from './objects.ts';
import { Program } from './programs.ts';
import { ApiServer, freePorts, unavailable } from './server.ts';

const { v1 } = csi;
const [OPERATOR = '', CONTROLLER = ''] = (await freePorts(2)).map((port) => `127.0.0.1:${port}`);
const capability = { mount: { fsType: '' }, accessMode: { mode: v1.VolumeCapability.AccessMode.Mode.SINGLE_NODE_WRITER } };

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
  /** Requests about AoEVolumes since the last call, those included that follow within some seconds: the operator's status waits for one. */
  const requests = async (): Promise<string[]> => {
    await delay(2_500);
    const all = server.requests();
    const news = all.slice(seen);
    seen = all.length;
    return news.filter((request) => /^aoe-csi.* aoevolumes/.test(request)).sort();
  };
  await requests();
  const request = { name: 'pvc', capacityRange: { requiredBytes: int64(1024 ** 3) }, volumeCapabilities: [capability] };
  await client.call('createVolume', request, { timeoutMs: 15_000 });
  expect(await requests()).toStrictEqual([
    'aoe-csi create aoevolumes 201',
    'aoe-csi-operator patch aoevolumes 200',
    'aoe-csi-operator patch aoevolumes/status 200',
  ]);
  await client.call('deleteVolume', { volumeId: 'pvc' }, { timeoutMs: 15_000 });
  expect(await requests()).toStrictEqual(['aoe-csi delete aoevolumes 200', 'aoe-csi get aoevolumes 200', 'aoe-csi patch aoevolumes 200']);
});
