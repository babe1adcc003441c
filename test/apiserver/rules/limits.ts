import { nodeFieldManager } from '../../../agent/field-manager.ts';
import { formatLock, parseLock } from '../../../aoe/mod.ts';
import { AOE_POOLS, AOE_VOLUMES } from '../../../api/resources.ts';
import { type AoEVolume, MAX_NODES } from '../../../api/volume.ts';
import { applyStatus, EventRecorder, type Kube, KubeError, type KubeObject } from '../../../kube/mod.ts';
import { makePool, volume } from '../objects.ts';

/** A name of 253 characters, the most that Kubernetes takes for nodes and for our objects: labels of 63, each with a last part of its own. */
const longName = (last: string): string =>
  [...Array.from({ length: 3 }, () => 'n'.repeat(63)), `${'n'.repeat(61 - last.length)}${last}`].join('.');

/** Tests of names at the limits of a real API server. */
export function limits(kube: () => Kube): void {
  test('two agents on nodes of such names report their parts of one pool', async () => {
    const names = [longName('a'), longName('b')];
    expect(names.map((name) => name.length)).toStrictEqual([253, 253]);
    const signal = AbortSignal.timeout(60_000);
    await makePool(kube(), 'default');
    for (const name of names) {
      const pool = await kube().get(AOE_POOLS, 'default');
      const fields = { nodes: [{ name, ready: true }] };
      await applyStatus(kube(), AOE_POOLS, pool as KubeObject, {
        manager: nodeFieldManager(name),
        fields,
        present: { nodes: undefined },
        signal,
      });
    }
    const { status } = (await kube().get(AOE_POOLS, 'default')) as KubeObject & { status: { nodes: { name: string }[] } };
    expect(status.nodes.map(({ name }) => name)).toStrictEqual(names);
  });

  test('a volume of such a name has events', async () => {
    const failures: unknown[] = [];
    const log = { debug() {}, info() {}, warn: (keys: object) => void failures.push(keys), error() {} };
    const events = new EventRecorder(kube(), { controller: 'aoe.dev/aoe-csi-agent', node: longName('a'), log });
    // The name of an event has room for 236 characters of it: a dot there, and a letter.
    for (const name of [longName('v'), `${'v'.repeat(60)}.${'v'.repeat(60)}.${'v'.repeat(60)}.${'v'.repeat(52)}.${'v'.repeat(10)}`])
      events.event(await kube().create(AOE_VOLUMES, volume(name)), 'Normal', 'Placed', 'placed');
    await events.flush();
    expect(failures).toStrictEqual([]);
  });

  test('a volume names as many nodes as it may, each with such a name, and no more', async () => {
    const nodes = Array.from({ length: MAX_NODES }, (_, index) => longName(String(index)));
    await kube().create(AOE_VOLUMES, volume('crowded', { access: 'Shared', initiators: { nodes } }));
    const status = { initiators: { observedGeneration: 1, nodes } };
    const written = await kube().patch<AoEVolume>(AOE_VOLUMES, 'crowded', { status }, { subresource: 'status' });
    expect(written.status?.initiators?.nodes).toHaveLength(MAX_NODES);
    const more = kube().patch(AOE_VOLUMES, 'crowded', { spec: { initiators: { nodes: [...nodes, 'next'] } } });
    await expect(more).rejects.toSatisfy((error: unknown) => error instanceof KubeError && error.code === 422);
  });

  test('the lock of a node of such a name is one, and its holder can be reported', async () => {
    const uid = '7d0f7b8e-5f0f-4a3c-9f0e-1c2d3e4f5a6b';
    const lock = { node: longName('a'), nodeUID: uid, volumeUID: uid, since: '2026-01-01T00:00:00.000Z' };
    const text = formatLock(lock);
    expect(parseLock(text)).toStrictEqual(lock);
    await kube().create(AOE_VOLUMES, volume('held'));
    const holder = { name: lock.node, node: lock.node, nodeUID: uid, since: lock.since, raw: new TextDecoder().decode(text) };
    const written = await kube().patch<AoEVolume>(AOE_VOLUMES, 'held', { status: { holder } }, { subresource: 'status' });
    expect(written.status?.holder).toStrictEqual(holder);
  });
}
