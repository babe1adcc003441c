import { parseQuantity } from '../api/quantity.ts';
import { Kube } from '../kube/mod.ts';
import type { Flags } from '../run/config.ts';
import { exec } from '../run/exec.ts';
import { serveHealth } from '../run/health.ts';
import { main } from '../run/main.ts';
import { runAgent } from './agent.ts';
import { GrpcCopier } from './copier/grpc.ts';
import { runCopier } from './copier/process.ts';
import { parseSelection } from './node/interfaces.ts';
import { GrpcTarget } from './target/grpc.ts';

const flags = {
  node: { default: '', help: 'name of this Kubernetes node; NODE_NAME when empty' },
  'target-socket': { default: '/run/aoe-csi/target.sock', help: 'unix socket of the target process' },
  copier: {
    default: 'aoe-copier',
    help: 'the program that copies data from other pools and nodes; empty: another process serves its socket',
  },
  'copier-socket': { default: '/run/aoe-csi/copier.sock', help: 'unix socket of the copier' },
  'copier-state': { default: '/var/lib/aoe-csi/copier', help: 'directory where the copier keeps its jobs and their progress' },
  'copy-speed': {
    default: '0',
    help: 'bytes that a copy reads per second at most, such as 100Mi; 0: no limit',
    parse: parseQuantity,
  },
  'copy-speed-in-use': {
    default: '0',
    help: 'bytes that all copies together read per second at most while hosts read or write volumes of this node, such as 32Mi; 0: no limit',
    parse: parseQuantity,
  },
  interfaces: {
    default: 'auto',
    help: 'interfaces to serve volumes on, separated by commas; auto: every physical Ethernet interface that is up',
    parse: parseSelection,
  },
  'mount-points': {
    default: '',
    help: 'directories where disks are mounted, separated by commas: where none is, no new file pool is made in it',
    parse: (text: string) => text.split(',').filter((path) => path !== ''),
  },
  'blocks-listen': {
    default: '',
    help: 'HOST:PORT where the CSI controller is told, over TLS, which blocks of snapshots have changed; empty: it is not',
  },
  'blocks-user': {
    default: '',
    help: 'the one user that may ask for that, such as system:serviceaccount:aoe-csi:aoe-csi-controller',
  },
  kubeconfig: { default: '', help: "kubeconfig file; the pod's service account when empty" },
  http: { default: ':9811', help: 'address of /healthz, /readyz and /metrics' },
} as const satisfies Flags;

await main('aoe-csi-agent', flags, async ({ config, env, log, signal }) => {
  const node = config.node || env.nodeName;
  if (!node) throw new Error('the name of this node is not known: give --node or NODE_NAME');
  const { 'blocks-listen': listen, 'blocks-user': user } = config;
  if ((listen === '') !== (user === '')) throw new Error('--blocks-listen and --blocks-user need one another');
  const kube = Kube.fromCluster(config.kubeconfig, { log, userAgent: 'aoe-csi-agent' });
  const targetApi = new GrpcTarget(config['target-socket']);
  const copier = new GrpcCopier(config['copier-socket']);
  const { copier: program, 'copier-socket': socket, 'copier-state': state } = config;
  const ready = Promise.withResolvers<void>();
  let hung: () => string | undefined = () => undefined;
  try {
    await Promise.all([
      serveHealth(config.http, { 'API server': ready.promise }, signal, log, { hung: () => hung() }),
      program === '' ? undefined : runCopier({ program, socket, state, log }, signal),
      runAgent(
        {
          node,
          selection: config.interfaces,
          mountPoints: config['mount-points'],
          kube,
          targetApi,
          copier,
          copySpeed: config['copy-speed'],
          copySpeedInUse: config['copy-speed-in-use'],
          run: exec,
          blocks: listen === '' ? undefined : { listen, user },
          ready: ready.resolve,
          watched: (ask) => (hung = ask),
          log,
        },
        signal,
      ),
    ]);
  } finally {
    targetApi.close();
    copier.close();
  }
});
