import { type AoENode, NodeCondition } from '../../api/node.ts';
import { UsageError } from '../../run/config.ts';
import { NotFoundError } from '../cluster/find.ts';
import { AOE_NODES, type Machine, NODES, type Pod } from '../cluster/objects.ts';
import { podOn, releasePods } from '../cluster/release.ts';
import type { Context, ExitStatus } from '../context.ts';
import { type NodeFacts, Prober } from '../path/probe.ts';
import { ok, type Step, unknown, wrong } from '../path/step.ts';
import { conditionOf, isStorage, machineProblems, podProblems, silenceOf } from '../report/problems.ts';
import { knownSegment } from '../report/segment.ts';
import { pathText } from './path.ts';

/** Everything that is known about a node. */
export interface Checked {
  readonly name: string;
  readonly node: AoENode | undefined;
  readonly machine: Machine | undefined;
  /** All AoENodes, to compare with. */
  readonly nodes: readonly AoENode[] | undefined;
  /** Of the release; undefined when they may not be listed. */
  readonly pods: readonly Pod[] | undefined;
  readonly facts: NodeFacts | undefined;
}

/** By series of kernel, the first that has the fix of both faults in docs/install.md, "Kernels". Series between them have no fix. */
const FIXED: readonly (readonly [number, number, number])[] = [
  [5, 4, 295],
  [5, 10, 239],
  [5, 15, 186],
  [6, 1, 144],
  [6, 6, 97],
  [6, 12, 37],
  [6, 15, 6],
];
/** All kernels from this series on have the fixes. */
const FIXED_SINCE: readonly [number, number] = [6, 16];

/** The version of kernel.org that a distribution says its kernel is made of; undefined when it says none. */
function madeOf(build = ''): { distribution: string; version: string } | undefined {
  const [, debian] = /\bDebian (?:\d+:)?(\d+\.\d+\.\d+)/.exec(build) ?? [];
  if (debian !== undefined) return { distribution: 'Debian', version: debian };
  const [, ubuntu] = /^Ubuntu \S+ (\d+\.\d+\.\d+)/.exec(build) ?? [];
  return ubuntu === undefined ? undefined : { distribution: 'Ubuntu', version: ubuntu };
}

/**
 * Whether a kernel is older than the fix of the faults that are known; undefined when its version cannot be read, or does not tell: Debian
 * (before 13), Ubuntu, RHEL and SUSE write 0 for the patch level, and numbers of their own behind it.
 * @param kernel as of `uname -r`
 * @param build `/proc/version_signature` of Ubuntu, or what `uname -v` says: those of Debian and Ubuntu have the version of kernel.org
 */
export function hasKnownFault(kernel: string, build?: string): boolean | undefined {
  const origin = madeOf(build);
  const [, major, minor, patch = '0'] = /^(\d+)\.(\d+)(?:\.(\d+))?/.exec(origin?.version ?? kernel) ?? [];
  if (major === undefined || minor === undefined) return undefined;
  const [a, b, c] = [Number(major), Number(minor), Number(patch)];
  if (a > FIXED_SINCE[0] || (a === FIXED_SINCE[0] && b >= FIXED_SINCE[1])) return false;
  const series = FIXED.find(([x, y]) => x === a && y === b);
  if (!origin && /^\d+\.\d+\.0-\d/.test(kernel)) return undefined;
  // Ubuntu fixes series itself that kernel.org has left, such as 6.8.
  if (origin?.distribution === 'Ubuntu' && !series) return undefined;
  return series === undefined || c < series[2];
}

/** @param now in milliseconds */
export function checkSteps(checked: Checked, now: number): Step[] {
  const { name, node, pods } = checked;
  const components = ['node', ...(node && isStorage(node) ? (['agent', 'target'] as const) : [])] as const;
  return [
    machineStep(checked),
    ...components.map((component): Step => {
      const title = `pod of ${component === 'node' ? 'the node plugin' : `the ${component}`}`;
      if (!pods) return unknown(title, 'pods may not be listed');
      const pod = podOn(pods, component, name);
      if (!pod) return wrong(title, `there is none on ${name}`);
      const [problem] = podProblems(pod);
      return problem ? wrong(title, `${pod.metadata.name}: ${problem.reason}: ${problem.message}`) : ok(title, pod.metadata.name);
    }),
    ...aoeNodeSteps(checked, now),
    moduleStep(checked),
    kernelStep(checked),
  ];
}

function machineStep({ name, machine }: Checked): Step {
  if (!machine) return unknown('node', `${name}: there is no such Node, or it may not be read`);
  const [problem] = machineProblems(machine);
  return problem ? wrong('node', problem.message) : ok('node', `${name} is Ready`);
}

function aoeNodeSteps({ name, node, machine, nodes }: Checked, now: number): Step[] {
  if (!node) return [wrong('AoENode', `${name} has none: its node plugin has never run, or could not reach the API server`)];
  const { status, spec } = node;
  const interfaces = status?.interfaces ?? [];
  const segment = knownSegment(node, machine && [machine]);
  const others = (nodes ?? []).filter((each) => each.metadata.name !== name && each.status?.segment === segment);
  const silent = silenceOf(node, now);
  return [
    conditionStep('initiator', node, NodeCondition.InitiatorReady),
    ...(isStorage(node) ? [conditionStep('target', node, NodeCondition.TargetReady)] : []),
    ...(silent === undefined ? [] : [wrong('agent', silent)]),
    ...(spec.maintenance ? [wrong('maintenance', 'spec.maintenance is set: no new volumes are placed here')] : []),
    interfaces.length === 0
      ? wrong('interfaces', 'none is known')
      : ok(
          'interfaces',
          `segment ${segment ?? '?'}: ${interfaces.map(({ name: each, mac, mtu }) => `${each} ${mac} MTU ${mtu}`).join(', ')}`,
        ),
    ...interfaces.flatMap(({ name: each, mac }) => {
      const twin = (nodes ?? []).find((other) => other.metadata.name !== name && other.status?.interfaces?.some((its) => its.mac === mac));
      return twin ? [wrong('MAC', `${each} has ${mac}, and so has ${twin.metadata.name}: give one of the machines another address`)] : [];
    }),
    mtuStep(node, others),
  ];
}

/** Frames as long as the MTU of one machine are lost at another with a smaller one. */
function mtuStep(node: AoENode, others: readonly AoENode[]): Step {
  const mtusOf = ({ status }: AoENode) => (status?.interfaces ?? []).filter(({ local }) => !local).map(({ mtu }) => mtu);
  const here = Math.max(0, ...mtusOf(node));
  const different = others.filter((other) => mtusOf(other).length > 0 && Math.max(...mtusOf(other)) !== here);
  if (different.length === 0) return ok('MTU', `${here}, as all others of the segment`);
  const list = different.map((other) => `${other.metadata.name} ${Math.max(...mtusOf(other))}`).join(', ');
  return wrong('MTU', `${here} here, but others of the segment have another one: ${list}`);
}

function conditionStep(name: string, node: AoENode, type: string): Step {
  const condition = conditionOf(node, type);
  if (!condition) return wrong(name, 'nothing has been reported');
  const isWell = condition.status === 'True' && condition.reason !== 'InterfaceMissing';
  return (isWell ? ok : wrong)(name, `${condition.reason}: ${condition.message}`);
}

function moduleStep({ facts, name }: Checked): Step {
  if (!facts) return unknown('module', 'nobody could look: that takes a running aoe-csi-node pod, and the right to exec in it');
  if (!facts.isModuleLoaded) return wrong('module', `the kernel of ${name} has not loaded aoe: modprobe aoe must succeed there`);
  const parameters = Object.entries(facts.parameters).map(([key, value]) => `${key}=${value}`);
  return ok('module', `aoe is loaded: ${parameters.join(', ')}`);
}

function kernelStep({ facts, machine }: Checked): Step {
  const kernel = facts?.kernel ?? machine?.status?.nodeInfo?.kernelVersion;
  if (kernel === undefined) return unknown('kernel', 'its version is not known');
  const isFaulty = hasKnownFault(kernel, facts?.build);
  const origin = madeOf(facts?.build);
  const shown = origin ? `${kernel} (${origin.distribution} ${origin.version})` : kernel;
  if (isFaulty === undefined)
    return unknown('kernel', `${shown}: the version does not tell whether CVE-2025-38326 is fixed: ask your distribution`);
  if (!isFaulty) return ok('kernel', shown);
  const fault = `${shown} may have a fault of the aoe driver: processes can hang for ever when a target is away for aoe_deadsecs (CVE-2025-38326)`;
  if (facts?.parameters.aoe_deadsecs === '0') return ok('kernel', `${fault}; aoe_deadsecs is 0, which avoids it`);
  return wrong('kernel', `${fault}. Update it, or set aoe_deadsecs to 0; your distribution may have fixed it`);
}

export async function checkNode(context: Context): Promise<ExitStatus> {
  const { reader, line, out, now } = context;
  const [what, name = ''] = line.words;
  if (what !== 'node') throw new UsageError('usage: kubectl aoe check node NODE');
  const [nodes, machine, pods] = await Promise.all([
    reader.list<AoENode>(AOE_NODES),
    reader.get<Machine>(NODES, name),
    releasePods(reader, line.namespace),
  ]);
  const node = nodes?.find(({ metadata }) => metadata.name === name);
  if (!node && !machine.object && !machine.isHidden) throw new NotFoundError(`there is no node ${name}`);
  const plugin = podOn(pods, 'node', name);
  const facts = plugin ? await new Prober(context).node(plugin) : undefined;
  const steps = checkSteps({ name, node, machine: machine.object, nodes, pods, facts }, now());
  out(`${pathText(steps).join('\n')}\n`);
  return line.isOn('exit-code') && steps.some(({ state }) => state === 'wrong') ? 1 : 0;
}
