import type { SelectedInterfaces } from '../../../aoe/mod.ts';
import { type AoENode, NodeCondition } from '../../../api/node.ts';
import { AOE_NODES, API_VERSION } from '../../../api/resources.ts';
import { applyStatus, isConflict, type Kube, type Log, messageOf, type NextCondition } from '../../../kube/mod.ts';
import { loop } from '../../../run/loop.ts';
import type { Driver } from '../contracts.ts';
import { FIELD_MANAGER } from './volume-client.ts';

/** Node.js cannot watch network interfaces: they are polled at this interval. */
const CHECK_MS = 30_000;
const RETRY_MS = 2_000;
/** Limit for one pass: reading, loading the driver, writing. */
const PASS_MS = 30_000;

export interface NodeObjectOptions {
  readonly nodeName: string;
  readonly segment: string;
  readonly kube: Pick<Kube, 'get' | 'create' | 'apply'>;
  readonly driver: Pick<Driver, 'prepare'>;
  /** The AoE interfaces of this node without the local veth pair, whose entry the agent writes. */
  readonly interfaces: () => Promise<SelectedInterfaces>;
  /** The names of all interfaces that the kernel's driver uses, the local veth pair included. */
  readonly interfaceNames: () => Promise<readonly string[]>;
  /** Seconds between two heartbeats to the targets; 0 when none are sent. */
  readonly heartbeatSeconds?: number;
  readonly log: Log;
  /** Called after each check, before the AoENode is written. */
  readonly onChecked?: (initiatorReady: NextCondition) => Promise<void>;
  /** Time between two checks, in milliseconds. Default 30000. */
  readonly checkMs?: number;
}

/**
 * Keeps this node's part of its AoENode up to date until the signal is aborted: segment, interfaces, and the condition InitiatorReady.
 * Creates the AoENode when it does not exist.
 */
export async function keepNodeObject(options: NodeObjectOptions, signal: AbortSignal): Promise<void> {
  const failed = (error: unknown): number => {
    options.log.warn({ node: options.nodeName, error: messageOf(error) }, 'AoENode not updated');
    return RETRY_MS;
  };
  await loop((stop) => update(options, stop), { everyMs: options.checkMs ?? CHECK_MS, signal, failed });
}

async function update({ nodeName, segment, kube, log, ...options }: NodeObjectOptions, stop: AbortSignal): Promise<void> {
  const signal = AbortSignal.any([stop, AbortSignal.timeout(PASS_MS)]);
  const { found, missing } = await options.interfaces();
  const interfaces = found.map(({ name, mac, mtu }) => ({ name, mac, mtu }));
  const condition = await initiatorReady(options, { found, missing }, signal);
  await options.onChecked?.(condition);
  const node = (await kube.get<AoENode>(AOE_NODES, nodeName, { signal })) ?? (await create(kube, nodeName, signal));
  if (!node) return;
  const present = node.status?.interfaces?.filter(({ local }) => !local).map(({ name, mac, mtu }) => ({ name, mac, mtu }));
  const written = await applyStatus(kube, AOE_NODES, node, {
    manager: FIELD_MANAGER,
    conditions: [condition],
    fields: { segment, interfaces, heartbeatSeconds: options.heartbeatSeconds || undefined },
    present: { interfaces: present },
    signal,
  });
  if (written === node) return;
  log.info({ node: nodeName, segment, interfaces: interfaces.map(({ name }) => name), ready: condition.reason }, 'AoENode updated');
}

/** Creates the AoENode. The agent of a storage node may do so at the same moment: then the one that it created is read. */
async function create(kube: NodeObjectOptions['kube'], name: string, signal: AbortSignal): Promise<AoENode | undefined> {
  const object: AoENode = { apiVersion: API_VERSION, kind: AOE_NODES.kind, metadata: { name }, spec: { maintenance: false } };
  try {
    return await kube.create<AoENode>(AOE_NODES, object, { fieldManager: FIELD_MANAGER, signal });
  } catch (error) {
    if (!isConflict(error)) throw error;
    return kube.get<AoENode>(AOE_NODES, name, { signal });
  }
}

/** Loads the kernel's driver and sets its interfaces, and says whether the node can mount volumes. */
async function initiatorReady(
  { driver, interfaceNames }: Pick<NodeObjectOptions, 'driver' | 'interfaceNames'>,
  { found, missing }: SelectedInterfaces,
  signal: AbortSignal,
): Promise<NextCondition> {
  const type = NodeCondition.InitiatorReady;
  const absent = missing.length > 0 ? `this node has no Ethernet interface ${missing.join(', ')}` : undefined;
  if (found.length === 0) {
    const message = absent ?? 'no physical Ethernet interface is up; name the interfaces to use with --interfaces';
    return { type, status: 'False', reason: absent ? 'NoSuchInterface' : 'NoInterface', message };
  }
  const names = await interfaceNames();
  try {
    await driver.prepare(names, signal);
  } catch (error) {
    return { type, status: 'False', reason: 'NoDriver', message: messageOf(error) };
  }
  const message = `the kernel's aoe driver uses ${names.join(', ')}`;
  return absent
    ? { type, status: 'True', reason: 'InterfaceMissing', message: `${message}; ${absent}` }
    : { type, status: 'True', reason: 'DriverLoaded', message };
}
