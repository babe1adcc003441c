import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import type { AoENode } from '../../api/node.ts';
import type { Kube } from '../../kube/mod.ts';
import { metricsText } from '../../run/metrics.ts';
import { createFreezes } from './freeze/create.ts';
import { createNodePlugin } from './plugin.ts';
import { context } from './testing/calls.ts';

const silent = { debug: () => {}, info: () => {}, warn: () => {}, error: () => {} };

test('without an interface the plugin says why, does not register with the kubelet, and ends when it is told to', async () => {
  const kubeletPath = mkdtempSync(join(tmpdir(), 'aoe-kubelet-'));
  const socket = join(kubeletPath, 'plugins_registry/aoe.dev-reg.sock');
  const applied: AoENode[] = [];
  const kube = {
    get: async () => ({ metadata: { name: 'n1', uid: 'uid-1' }, spec: { maintenance: false, initiators: { nodes: ['n1'] } } }),
    apply: async (_type: unknown, object: AoENode) => {
      applied.push(object);
      return object;
    },
  };
  const common = { nodeName: 'n1', nodeUID: 'node-uid', segment: 'rack-1', kubeletPath, log: silent };
  const freezes = createFreezes({ kubeletPath, limitMs: 1000, log: silent });
  const plugin = createNodePlugin({ ...common, freezes, kube: kube as unknown as Kube, interfaces: 'no-such-nic' });
  /** Runs it until it has checked the node, then calls `use`. */
  const run = async (use: () => void): Promise<void> => {
    const stop = new AbortController();
    applied.length = 0;
    const running = plugin.run(stop.signal);
    while (applied.length === 0) await delay(5);
    use();
    stop.abort();
    await running;
  };
  try {
    await run(() => {
      expect(applied[0]?.status?.conditions?.[0]).toMatchObject({ type: 'InitiatorReady', status: 'False', reason: 'NoSuchInterface' });
      expect(existsSync(socket)).toBe(false);
    });
    expect(await plugin.node.nodeGetInfo({}, context)).not.toHaveProperty('accessibleTopology');
    expect(await metricsText()).toMatch(/# TYPE aoe_csi_node_disk_down_seconds gauge/);
  } finally {
    rmSync(kubeletPath, { recursive: true, force: true });
  }
});
