import { execFile } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { identityService } from '../../csi/identity.ts';
import type { Kube } from '../../kube/mod.ts';
import { Code, csi, type Handlers, RpcError, RpcServer } from '../../rpc/mod.ts';
import { BROKEN_SANITY_SPEC, describeOutcomes, outcomesOf, unexplainedSkips } from '../k8s-storage/report.ts';
import { KIT } from '../testbed/kit.ts';
import { FakeAgent } from './fake-agent.ts';
import { announceNode, makePool, reportPool } from './objects.ts';
import { Program } from './programs.ts';
import { ApiServer, freePorts, unavailable } from './server.ts';

const { v1 } = csi;
const [OPERATOR = '', CONTROLLER = ''] = (await freePorts(2)).map((port) => `127.0.0.1:${port}`);
const LIMIT_MS = 800_000;
const NODE = 'storage-1';

/** A node service that says which node it is. What runs on a node is tested with csi-sanity on the cluster. */
function onlyInfo(): Handlers<csi.v1.Node> {
  const absent = () => Promise.reject(new RpcError(Code.UNIMPLEMENTED, 'not in this test'));
  return {
    nodeGetInfo: async () => ({ nodeId: NODE, accessibleTopology: { segments: { 'aoe.dev/segment': 'default' } } }),
    nodeGetCapabilities: async () => ({}),
    nodeStageVolume: absent,
    nodeUnstageVolume: absent,
    nodePublishVolume: absent,
    // The suite calls it to clean up, whether anything was published or not.
    nodeUnpublishVolume: async () => ({}),
    nodeGetVolumeStats: absent,
    nodeExpandVolume: absent,
    nodeGetVolumeHealth: absent,
    nodeGetStorageHealth: absent,
  };
}

/** kubernetes-csi/csi-test against the controller, with a real API server and operator, and fake agents. */
describe.skipIf(unavailable)('csi-sanity', () => {
  const directory = mkdtempSync(join(tmpdir(), 'csi-sanity-'));
  const at = (name: string) => join(directory, name);
  const stop = new AbortController();
  const node = new RpcServer({ socket: at('node.sock'), log: { debug() {}, info() {}, error() {} } });
  let server: ApiServer;
  let agentRuns: Promise<void>;
  let programs: Program[] = [];

  beforeAll(async () => {
    server = await ApiServer.start();
    const kube: Kube = server.kube();
    agentRuns = new FakeAgent(kube).run(stop.signal);
    await makePool(kube, 'default');
    await announceNode(kube, NODE);
    await reportPool(kube, 'default', { name: NODE, ready: true, size: '100Gi', free: '100Gi', granularity: '4Mi' });
    const common = [`--kubeconfig=${server.kubeconfig}`];
    const operator = new Program('operator/main.ts', [...common, `--http=${OPERATOR}`, '--namespace=default']);
    const controller = new Program('csi/main.ts', ['controller', ...common, `--http=${CONTROLLER}`, `--endpoint=unix://${at('csi.sock')}`]);
    programs = [operator, controller];
    node.add(
      v1.Identity,
      v1,
      identityService('test', () => true),
    );
    node.add(v1.Node, v1, onlyInfo());
    await Promise.all([operator.ready(OPERATOR), controller.ready(CONTROLLER), node.start()]);
  });

  afterAll(async () => {
    stop.abort();
    await agentRuns;
    await Promise.all(programs.map((program) => program.kill()));
    await node.stop();
    await server?.stop();
    rmSync(directory, { recursive: true, force: true });
  });

  it(
    'passes for identity and controller',
    async () => {
      writeFileSync(at('parameters.yaml'), 'pool: default\n');
      writeFileSync(at('mutable.yaml'), 'iops: "100"\nbytesPerSecond: 10Mi\n');
      const report = at('report.json');
      const args = [
        ...[`--csi.endpoint=unix://${at('node.sock')}`, `--csi.controllerendpoint=unix://${at('csi.sock')}`],
        ...[`--csi.mountdir=${at('target')}`, `--csi.stagingdir=${at('staging')}`, `--csi.testvolumeparameters=${at('parameters.yaml')}`],
        `--csi.testvolumemutableparameters=${at('mutable.yaml')}`,
        ...[
          '--ginkgo.no-color',
          `--ginkgo.skip=${BROKEN_SANITY_SPEC}`,
          '--ginkgo.focus=Identity Service|Controller Server',
          `--ginkgo.json-report=${report}`,
        ],
      ];
      const output = await promisify(execFile)(join(KIT, 'csi-sanity'), args, { timeout: LIMIT_MS }).catch((error: unknown) => error);
      const outcomes = outcomesOf(readFileSync(report, 'utf8'));
      console.log(describeOutcomes(outcomes.values()));
      expect([...outcomes].filter(([, { state }]) => state === 'failed')).toStrictEqual([]);
      expect(unexplainedSkips(outcomes.values())).toStrictEqual([]);
      expect(output).not.toBeInstanceOf(Error);
    },
    LIMIT_MS + 10_000,
  );
});
