import { Kube } from '../kube/mod.ts';
import type { Flags } from '../run/config.ts';
import { main } from '../run/main.ts';
import { runController } from './controller/program.ts';
import { parseModuleParameters } from './node/disk/module-parameters.ts';
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
  node: { default: '', help: 'name of this node; NODE_NAME when empty (node)' },
  kubeconfig: { default: '', help: 'kubeconfig file; the service account when empty' },
  http: { default: ':9809', help: 'address of health and metrics, HOST:PORT' },
} as const satisfies Flags;

await main('aoe-csi', FLAGS, async ({ config, words, env, log, signal }) => {
  const socket = config.endpoint.replace(/^unix:\/\//, '');
  const kube = Kube.fromCluster(config.kubeconfig, { log, userAgent: 'aoe-csi' });
  const common = { kube, socket, http: config.http, version, log };
  const [role, ...rest] = words;
  if (rest.length > 0 || (role !== 'controller' && role !== 'node')) throw new Error('usage: csi controller | csi node');
  if (role === 'controller') return runController(common, signal);
  const nodeName = config.node || env.nodeName;
  if (!nodeName) throw new Error('the name of this node is missing: set NODE_NAME or --node');
  return runNode(
    {
      ...common,
      nodeName,
      kubeletPath: config['kubelet-path'],
      interfaces: config.interfaces,
      moduleParameters: config['module-parameters'],
    },
    signal,
  );
});
