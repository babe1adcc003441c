import assert from 'node:assert/strict';
import { pino } from 'pino';
import { formatLock } from '../../aoe/mod.ts';
import { localMac } from '../../api/local-link.ts';
import type { AoENode } from '../../api/node.ts';
import type { AoEVolume } from '../../api/volume.ts';
import type { Store } from '../../kube/mod.ts';
import { MacMemory } from '../access/mac-memory.ts';
import type { ExternalDisk, Stranger } from '../address/probe.ts';
import type { Backend } from '../backends/backend.ts';
import { TargetConnection } from '../target/connection.ts';
import { VolumeReconciler } from '../volume/reconciler.ts';
import { FakeBackend } from './fake-backend.ts';
import { FakeCopier } from './fake-copier.ts';
import { FakeKube } from './fake-kube.ts';
import { FakeTarget } from './fake-target.ts';

export const UID = '11111111-2222-3333-4444-555555555555';
export const MAC = { worker: '02:00:00:00:01:01', other: '02:00:00:00:02:01', local: localMac('storage') };
const log = pino({ level: 'silent' });

type Spec = Partial<AoEVolume['spec']>;

/** A storage node's part of a cluster in memory: volume v1 at e7.3, and a target process that works at once. */
export async function harness({ connect = true } = {}) {
  const kube = new FakeKube();
  const target = new FakeTarget();
  if (!connect) target.stop();
  const backend = new FakeBackend();
  /** Of other pools than that of v1. */
  const backends = new Map<string, Backend>();
  const copier = new FakeCopier();
  const world = {
    stranger: undefined as Stranger | undefined,
    /** Disks of other targets at the address from which a volume is copied. */
    external: [] as ExternalDisk[],
    probes: 0,
    /** Whether the last probe was to wait for a slow target. */
    patient: false,
    changedPools: [] as string[],
    dataSettled: [] as string[],
    now: 0,
  };
  const stop = new AbortController();
  const link = new TargetConnection(target, log);
  const running = link.run(stop.signal);
  onTestFinished(async () => {
    stop.abort();
    await running;
  });
  const connected = async (want: boolean): Promise<void> => {
    for (let tries = 0; link.connected !== want && tries < 300; tries++) await new Promise((resolve) => setTimeout(resolve, 10));
    assert.equal(link.connected, want);
  };
  const node = (name: string, mac: string, local?: string) => ({
    kind: 'AoENode',
    metadata: { name },
    spec: {},
    status: {
      interfaces: [{ name: 'eth1', mac, mtu: 9000 }, ...(local ? [{ name: 'aoe-local', mac: local, mtu: 9000, local: true }] : [])],
    },
  });
  kube.put({ kind: 'AoEPool', metadata: { name: 'default' }, spec: { backend: 'file', directory: '/x' } } as never);
  kube.put(node('worker', MAC.worker));
  kube.put(node('other', MAC.other, '02:00:00:00:08:08'));
  kube.put(node('storage', '02:00:00:00:00:01', MAC.local));
  /** An agent that has just been started: it remembers nothing. */
  const make = (volumes: Store<AoEVolume> = kube.store('AoEVolume'), { statusDelayMs = 0 } = {}) => {
    const reconciler = new VolumeReconciler({
      node: 'storage',
      kube,
      volumes,
      pools: kube.store('AoEPool'),
      nodes: kube.store('AoENode'),
      snapshots: kube.store('AoESnapshot'),
      backendOf: ({ metadata: { name } }) => backends.get(name) ?? backend,
      target: link,
      probe: async (_address, _signal, { isPatient = false } = {}) => {
        world.probes++;
        world.patient = isPatient;
        return world.stranger;
      },
      copies: {
        copier,
        interfaces: () => [{ name: 'eth1', mac: '02:00:00:00:00:01' }],
        expose: ({ metadata: { uid = '' } }) => backend.snapshots.expose(uid),
        survey: async () => world.external,
        bytesPerSecond: 0,
      },
      schedule: { now: () => world.now, random: () => 0.5 },
      macs: new MacMemory({ now: () => world.now }).follow(kube.store<AoENode>('AoENode')),
      statusDelayMs,
      signal: stop.signal,
      events: kube,
      log,
    });
    reconciler.subscribe((event) => {
      if (event.type === 'data') world.dataSettled.push(event.volume);
      else world.changedPools.push(event.pool);
    });
    return reconciler;
  };
  const signal = new AbortController().signal;
  const volume = (): AoEVolume => kube.store<AoEVolume>('AoEVolume').get('v1') as AoEVolume;
  const spec = (change: Spec): void => {
    const present = kube.volume();
    const base = {
      capacity: '10Mi',
      pool: 'default',
      access: 'Exclusive',
      nodeName: 'storage',
      address: { shelf: 7, slot: 3 },
      initiators: {},
    };
    const metadata = present?.metadata ?? { name: 'v1', uid: UID, finalizers: ['aoe.dev/backing-volume'] };
    kube.put({ ...present, kind: 'AoEVolume', metadata, spec: { ...base, ...(present?.spec as object), ...change } } as never);
  };
  const reconcile = async (volumes = make()) => volumes.reconcile('v1', signal);
  const lock = (by: string, volumeUID = UID) =>
    target.setConfigString(
      UID,
      new TextDecoder().decode(formatLock({ node: by, nodeUID: 'n-1', volumeUID, since: '2026-01-01T00:00:00Z' })),
    );
  /** Fulfilled when the agent has heard what the target did last. */
  const tick = () => new Promise((resolve) => setImmediate(resolve));
  spec({});
  if (connect) await connected(true);
  return {
    kube,
    target,
    link,
    backend,
    backends,
    copier,
    world,
    make,
    volume,
    spec,
    connected,
    reconcile,
    condition: (type: string) => volume().status?.conditions?.find((each) => each.type === type),
    remove: () => {
      const present = kube.volume();
      if (present) kube.put({ ...present, metadata: { ...present.metadata, deletionTimestamp: '2026-01-01T00:00:00Z' } } as never);
    },
    lock,
    tick,
    /** Lets a node in, and has it take the lock. */
    admitHolder: async (by: string, volumes = make()): Promise<void> => {
      spec({ initiators: { nodes: [by] } });
      await reconcile(volumes);
      lock(by);
      await tick();
      await reconcile(volumes);
    },
    /** The operator reserves room for this capacity. */
    reserve: (reserved: string) => {
      const present = kube.volume();
      if (present) kube.put({ ...present, status: { ...(present.status as object), reserved } } as never);
    },
    annotate: (annotations: Record<string, string>) => {
      const present = kube.volume();
      if (present) kube.put({ ...present, metadata: { ...present.metadata, annotations } } as never);
    },
  };
}
