import { setTimeout as delay } from 'node:timers/promises';
import type { SelectedInterfaces } from '../../../aoe/mod.ts';
import { GROUP, VERSION } from '../../../api/meta.ts';
import { type AoENode, NodeCondition } from '../../../api/node.ts';
import { AOE_NODES } from '../../../api/resources.ts';
import { type Kube, KubeError, type Log, messageOf, setCondition } from '../../../kube/mod.ts';
import type { Driver } from '../contracts.ts';
import { FIELD_MANAGER } from './volume-client.ts';

/** Interfaces come and go without an event that Node.js can hear: they are looked at this often. */
const LOOK_MS = 30_000;
const RETRY_MS = 2_000;
const CALL_MS = 30_000;

export interface NodeObjectOptions {
  readonly nodeName: string;
  readonly segment: string;
  readonly kube: Kube;
  readonly driver: Pick<Driver, 'prepare'>;
  /** Interfaces of this node for AoE, the local veth pair not among them: that entry is the agent's. */
  readonly interfaces: () => Promise<SelectedInterfaces>;
  /** All names for the kernel driver, the local one among them. */
  readonly interfaceNames: () => Promise<readonly string[]>;
  readonly log: Log;
  /** Time between two looks, in milliseconds. Default 30000. */
  readonly lookMs?: number;
}

/** Keeps this node's entries of its AoENode true: segment, interfaces, condition InitiatorReady. Makes the AoENode when there is none. */
export async function keepNodeObject(options: NodeObjectOptions, signal: AbortSignal): Promise<void> {
  let written = '';
  while (!signal.aborted) {
    let pause = options.lookMs ?? LOOK_MS;
    try {
      const limit = AbortSignal.any([signal, AbortSignal.timeout(CALL_MS)]);
      const { status, fingerprint } = await observe(options, limit);
      const present = await options.kube.get<AoENode>(AOE_NODES, options.nodeName, { signal: limit });
      if (!present || fingerprint !== written || !matches(present, fingerprint)) {
        await write(options, present, status, limit);
        written = fingerprint;
      }
    } catch (error) {
      if (signal.aborted) return;
      options.log.warn({ node: options.nodeName, error: messageOf(error) }, 'AoENode not updated');
      pause = RETRY_MS;
    }
    await delay(pause, undefined, { signal }).catch(() => {});
  }
}

interface Observed {
  segment: string;
  interfaces: { name: string; mac: string; mtu: number }[];
  ready: { status: 'True' | 'False'; reason: string; message: string };
}

async function observe(
  { segment, driver, interfaces, interfaceNames }: NodeObjectOptions,
  signal: AbortSignal,
): Promise<{ status: Observed; fingerprint: string }> {
  const { found, missing } = await interfaces();
  const list = found.map(({ name, mac, mtu }) => ({ name, mac, mtu }));
  const absent = missing.length > 0 ? `this node has no Ethernet interface ${missing.join(', ')}` : undefined;
  const ready = async (): Promise<Observed['ready']> => {
    if (list.length === 0) {
      const message = absent ?? 'no physical Ethernet interface is up; name those to use with --interfaces';
      return { status: 'False', reason: absent ? 'NoSuchInterface' : 'NoInterface', message };
    }
    const names = await interfaceNames();
    try {
      await driver.prepare(names, signal);
    } catch (error) {
      return { status: 'False', reason: 'NoDriver', message: messageOf(error) };
    }
    const uses = `the kernel's aoe driver uses ${names.join(', ')}`;
    return absent
      ? { status: 'True', reason: 'InterfaceMissing', message: `${uses}; ${absent}` }
      : { status: 'True', reason: 'DriverLoaded', message: uses };
  };
  const status = { segment, interfaces: list, ready: await ready() };
  return { status, fingerprint: JSON.stringify(status) };
}

/** False when somebody else changed or removed what we wrote. */
function matches({ status }: AoENode, fingerprint: string): boolean {
  const wanted: Observed = JSON.parse(fingerprint);
  const condition = status?.conditions?.find((each) => each.type === NodeCondition.InitiatorReady);
  return (
    status?.segment === wanted.segment &&
    condition?.status === wanted.ready.status &&
    wanted.interfaces.every(({ name, mac, mtu }) =>
      status.interfaces?.some((each) => each.name === name && each.mac === mac && each.mtu === mtu),
    )
  );
}

async function write(
  { nodeName, kube, log }: NodeObjectOptions,
  present: AoENode | undefined,
  { segment, interfaces, ready }: Observed,
  signal: AbortSignal,
): Promise<void> {
  const base = { apiVersion: `${GROUP}/${VERSION}`, kind: AOE_NODES.kind, metadata: { name: nodeName } };
  if (!present) {
    try {
      await kube.create<AoENode>(AOE_NODES, { ...base, spec: { maintenance: false } }, { fieldManager: FIELD_MANAGER, signal });
    } catch (error) {
      // The agent of this node makes it, too.
      if (!(error instanceof KubeError && error.code === 409)) throw error;
    }
  }
  const own = present?.status?.conditions?.filter((each) => each.type === NodeCondition.InitiatorReady);
  const condition = setCondition(own, { type: NodeCondition.InitiatorReady, ...ready });
  await kube.apply(
    AOE_NODES,
    { ...base, status: { segment, interfaces, conditions: [condition] } },
    { fieldManager: FIELD_MANAGER, force: true, subresource: 'status', signal },
  );
  log.info({ node: nodeName, segment, interfaces: interfaces.map((each) => each.name), ready: ready.reason }, 'AoENode updated');
}
