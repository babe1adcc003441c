// A CSI driver that does nothing but answer and bind a directory: what a claim costs whichever driver there is. Runs in pods like
// ours: from our image, with the same sidecars. nothing.js controller | node
import { join } from 'node:path';
import { csi, pluginregistration, RpcServer } from '../../../../rpc/mod.ts';
import type { Flags } from '../../../../run/config.ts';
import { serveHealth } from '../../../../run/health.ts';
import { main } from '../../../../run/main.ts';
import { DRIVER, PLUGIN_DIRECTORY } from './driver.ts';
import { controller, identity, node, registration } from './services.ts';

const FLAGS = {
  endpoint: { default: 'unix:///csi/csi.sock', help: 'CSI socket' },
  'kubelet-path': { default: '/var/lib/kubelet', help: "the kubelet's directory (node)" },
  http: { default: ':9909', help: 'address of health, HOST:PORT' },
} as const satisfies Flags;

await main('nothing', FLAGS, async ({ config, words: [role], env, log, signal }) => {
  const socket = config.endpoint.replace(/^unix:\/\//, '');
  const server = new RpcServer({ socket, log }).add(csi.v1.Identity, csi.v1, identity());
  const health = serveHealth(config.http, {}, signal, log);
  if (role === 'controller') {
    server.add(csi.v1.Controller, csi.v1, controller());
    await Promise.all([server.run(signal), health]);
    return;
  }
  if (role !== 'node' || !env.nodeName) throw new Error('say what to run: nothing controller, or nothing node with NODE_NAME');
  const kubelet = config['kubelet-path'];
  server.add(csi.v1.Node, csi.v1, node(env.nodeName, join(kubelet, PLUGIN_DIRECTORY, 'volumes')));
  await server.start();
  const registrar = new RpcServer({ socket: join(kubelet, 'plugins_registry', `${DRIVER}-reg.sock`), log });
  registrar.add(pluginregistration.Registration, pluginregistration, registration(socket));
  await Promise.all([registrar.run(signal), health]);
  await server.stop();
});
