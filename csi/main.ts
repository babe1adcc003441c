import { Kube } from '../kube/mod.ts';
import { type Flags, oneOf, seconds } from '../run/config.ts';
import { main } from '../run/main.ts';
import { runController } from './controller/program.ts';
import { parseModuleParameters } from './node/disk/module-parameters.ts';
import { MOST_FREEZE_MS } from './node/freeze/create.ts';
import { wholeSeconds } from './node/heartbeat/whole-seconds.ts';
import { runNode } from './node/program.ts';
import { version } from './version.ts';

const FLAGS = {
  endpoint: { default: 'unix:///csi/csi.sock', help: 'CSI socket' },
  'kubelet-path': { default: '/var/lib/kubelet', help: "the kubelet's directory (node)" },
  interfaces: { default: 'auto', help: 'AoE interfaces, separated by commas; auto: every physical one that is up (node)' },
  'module-parameters': {
    default: '',
    help: "parameters of the kernel's aoe module to set, NAME=VALUE separated by commas: aoe_deadsecs, aoe_maxout (node)",
    parse: parseModuleParameters,
  },
  heartbeat: {
    default: '0',
    help: 'seconds between two frames by which the targets hear that this node lives; 0: none (node)',
    parse: wholeSeconds,
  },
  'freeze-limit': {
    default: '30',
    help: 'seconds after which a file system that was frozen for a snapshot is thawed in any case, 60 at most (node)',
    parse: freezeLimit,
  },
  node: { default: '', help: 'name of this node; NODE_NAME when empty (node)' },
  'agent-token': {
    default: '',
    help: 'file with a token for the agents: with it, the SnapshotMetadata service is served (controller)',
  },
  takeover: {
    default: 'off',
    help: 'on or off: whether volumes can be taken over by themselves; off: a new volume cannot have a time for it (controller)',
    parse: oneOf(['on', 'off']),
  },
  kubeconfig: { default: '', help: 'kubeconfig file; the service account when empty' },
  http: { default: ':9809', help: 'address of health and metrics, HOST:PORT' },
} as const satisfies Flags;

function freezeLimit(text: string): number {
  const limitMs = seconds(text);
  if (limitMs > MOST_FREEZE_MS) throw new RangeError(`"${text}" is more than ${MOST_FREEZE_MS / 1000} s`);
  return limitMs;
}

await main('aoe-csi', FLAGS, async ({ config, words, env, log, signal }) => {
  const socket = config.endpoint.replace(/^unix:\/\//, '');
  const kube = Kube.fromCluster(config.kubeconfig, { log, userAgent: 'aoe-csi' });
  const common = { kube, socket, http: config.http, version, log };
  const [role, ...rest] = words;
  if (rest.length > 0 || (role !== 'controller' && role !== 'node')) throw new Error('usage: csi controller | csi node');
  if (role === 'controller') {
    return runController({ ...common, agentToken: config['agent-token'], hasAutomaticTakeover: config.takeover === 'on' }, signal);
  }
  const nodeName = config.node || env.nodeName;
  if (!nodeName) throw new Error('the name of this node is missing: set NODE_NAME or --node');
  return runNode(
    {
      ...common,
      nodeName,
      kubeletPath: config['kubelet-path'],
      interfaces: config.interfaces,
      moduleParameters: config['module-parameters'],
      heartbeatSeconds: config.heartbeat,
      freezeLimitMs: config['freeze-limit'],
    },
    signal,
  );
});
