import { pino } from 'pino';
import { MacMemory } from '../../agent/access/mac-memory.ts';
import type { ProbeAddress } from '../../agent/address/probe.ts';
import type { AddressScheduleOptions } from '../../agent/address/schedule.ts';
import type { CopierApi } from '../../agent/copier/api.ts';
import type { CopyInContext } from '../../agent/copier/copy-in.ts';
import { StaleJobs } from '../../agent/copier/stale-jobs.ts';
import type { FakeBackend } from '../../agent/testing/fake-backend.ts';
import type { FakeTarget } from '../../agent/testing/fake-target.ts';
import { VolumeReconciler as AgentsReconciler } from '../../agent/volume/reconciler.ts';
import type { KubeNode } from '../../api/kube-node.ts';
import type { AoENode } from '../../api/node.ts';
import type { AoEPool } from '../../api/pool.ts';
import type { AoESnapshot } from '../../api/snapshot.ts';
import type { AoESnapshotGroup } from '../../api/snapshot-group.ts';
import type { AoEVolume } from '../../api/volume.ts';
import type { FakeApi } from '../../kube/testing/fake-api.ts';
import { AddressRange } from '../../operator/placement/address-range.ts';
import { indexesOf } from '../../operator/testing/indexes.ts';
import { VolumeReconciler } from '../../operator/volume/reconciler.ts';
import { Life } from './life.ts';
import { linkTo } from './link.ts';
import type { Process } from './programs.ts';

const log = pino({ level: 'silent' });

/** The objects of an API server, as watches that are never late show them. */
export function storesOf(api: FakeApi) {
  return {
    snapshots: api.store<AoESnapshot>('AoESnapshot'),
    groups: api.store<AoESnapshotGroup>('AoESnapshotGroup'),
    volumes: api.store<AoEVolume>('AoEVolume'),
    pools: api.store<AoEPool>('AoEPool'),
    nodes: api.store<AoENode>('AoENode'),
    kubeNodes: api.store<KubeNode>('Node'),
  };
}

/** The part of the operator that cares for AoEVolumes of these names. */
export function volumeOperator(api: FakeApi, names: readonly string[]): Process {
  const life = new Life();
  const kube = life.wrap(api, ['get', 'list', 'apply', 'patch', 'delete']);
  const work = new VolumeReconciler({
    ...{ kube: kube as never, ...storesOf(api), ...indexesOf(() => api.all<AoEVolume>('AoEVolume')), events: api, log },
    ...{ copies: { at: () => undefined }, agents: { silence: () => undefined }, range: new AddressRange('1'), statusDelayMs: 0 },
  });
  const round = async (): Promise<void> => {
    for (const name of names) await work.reconcile(name, life.signal);
  };
  return { life, round };
}

/** A pool as a process uses it. A new backing volume at the path has old data of another volume until it is wiped. */
export function poolOf(life: Life, backend: FakeBackend, { path, disks }: { path: string; disks: Map<string, number[]> }) {
  const calls = life.wrap(backend, [
    'measure',
    'find',
    'open',
    'namesakes',
    'create',
    'wipe',
    'noteMoves',
    'finishCopy',
    'remove',
    'retain',
  ]);
  const blocks = (value: number, bytes: number): number[] => Array.from({ length: bytes >> 20 }, () => value);
  const create: FakeBackend['create'] = async (request) => {
    const isNew = !backend.volumes.has(request.uid);
    // Also when the process dies at this call, and the call has its effect.
    return await calls.create(request).finally(() => {
      if (isNew && backend.volumes.has(request.uid)) disks.set(path, blocks(backend.unwiped ? 9 : 0, request.bytes));
    });
  };
  const wipe: NonNullable<FakeBackend['wipe']> = async (...args) => {
    const { unwiped, bytes } = backend.volumes.get(args[0]) ?? { bytes: 0 };
    if (unwiped) disks.set(path, blocks(0, bytes));
    return await calls.wipe(...args);
  };
  return { ...calls, create, wipe, path: () => path };
}

export interface VolumeAgentOptions {
  api: FakeApi;
  /** Name of its node. */
  node: string;
  /** Names of the AoEVolumes that it cares for. */
  volume: string;
  target: FakeTarget;
  backend: FakeBackend;
  /** Where the data of the volume is among the disks. */
  path: string;
  disks: Map<string, number[]>;
  copier: CopierApi;
  mac: string;
  survey?: CopyInContext['survey'];
  probe?: ProbeAddress;
  schedule?: AddressScheduleOptions;
  /** Ends its connection to the target. */
  signal: AbortSignal;
}

/** The part of an agent that cares for an AoEVolume in its only pool. */
export async function volumeAgent(options: VolumeAgentOptions): Promise<Process> {
  const { api, node, volume, target, backend, mac, schedule, survey = async () => [], probe = async () => undefined } = options;
  const life = new Life();
  const stores = storesOf(api);
  const link = await linkTo(target, life, options.signal);
  const copier = life.wrap(options.copier, ['list', 'start', 'remove', 'get', 'stop']);
  const pool = poolOf(life, backend, options);
  const work = new AgentsReconciler({
    ...{ node, kube: life.wrap(api, ['get', 'list', 'apply', 'patch']) as never, ...stores, target: link, signal: life.signal },
    ...{ events: api, log, statusDelayMs: 0, probe, schedule, macs: new MacMemory(), backendOf: () => pool as never },
    copies: { copier, survey, interfaces: () => [{ name: 'eth1', mac }], expose: async () => undefined, bytesPerSecond: 0 },
  });
  const stale = new StaleJobs({ copier, volumes: stores.volumes, snapshots: stores.snapshots, log });
  const round = async (): Promise<void> => {
    await stale.reconcile(life.signal);
    await work.reconcile(volume, life.signal);
    // The work on data goes on beside reconciles.
    await work.idle();
  };
  return { life, round };
}
