import { NodeCondition } from '../../api/node.ts';
import type { AoEPool } from '../../api/pool.ts';
import { type AoEVolume, VolumeCondition } from '../../api/volume.ts';
import { type Chain, danglingOf } from '../cluster/find.ts';
import { eventTime } from '../cluster/objects.ts';
import { claimText, holderName } from '../cluster/volumes.ts';
import { age } from '../report/age.ts';
import { conditionOf, danglingText, machineProblems, nodeProblems, podProblems, silenceOf } from '../report/problems.ts';
import { knownSegment } from '../report/segment.ts';
import { diskSteps, encryptionSteps, mountStep } from './disk-steps.ts';
import type { AgentFacts } from './probe.ts';
import { ok, type Step, unknown, type Way, wrong } from './step.ts';

/** Events that say why a pod does not get its volume. */
const OF_VOLUMES = new Set([
  'FailedAttachVolume',
  'FailedMount',
  'FailedMapVolume',
  'FailedScheduling',
  'FailedBinding',
  'ProvisioningFailed',
]);

/**
 * The way from the pod to its data, step by step.
 * @param now in milliseconds
 */
export function stepsOf(way: Way, now: number): Step[] {
  const { chain, pod } = way;
  const { volume } = chain;
  const steps = [podStep(way), claimStep(chain)];
  if (!volume) return chain.claim ? [...steps, volumeMissing(chain)] : steps;
  return [
    ...steps,
    persistentVolumeStep(way),
    ...(pod?.spec.nodeName === undefined || volume.spec.external ? [] : [attachmentStep(way, pod.spec.nodeName)]),
    ...(pod?.spec.nodeName === undefined ? [] : nodeSteps(way, volume, pod.spec.nodeName, now)),
    lockStep(volume, pod?.spec.nodeName, now),
    addressStep(way, volume),
    ...(volume.spec.external ? [ok('target', 'outside this project: look at it on its host')] : storageSteps(way, volume, now)),
  ].filter((step): step is Step => step !== undefined);
}

function podStep({ chain, pod, podEvents = [] }: Way): Step {
  if (!pod) {
    const { pods, claimName } = chain;
    if (claimName === undefined) return unknown('pod', 'the volume has no claim, so no pod uses it through one');
    return unknown('pod', pods === undefined ? 'the pods that use it may not be listed' : 'no pod uses it');
  }
  const name = `${pod.metadata.namespace}/${pod.metadata.name}`;
  const on = pod.spec.nodeName === undefined ? 'on no node yet' : `on ${pod.spec.nodeName}`;
  const [problem] = podProblems(pod);
  if (!problem) return ok('pod', `${name} ${on}: ${pod.status?.phase ?? 'Unknown'}`);
  const last = podEvents
    .filter(({ reason = '' }) => OF_VOLUMES.has(reason))
    .toSorted((a, b) => eventTime(a).localeCompare(eventTime(b)))
    .at(-1);
  const why = last ? `${last.reason}: ${last.message}` : `${problem.reason}: ${problem.message}`;
  return wrong('pod', `${name} ${on}: ${why}`);
}

function claimStep({ claimName, claim, isClaimGone, pods = [] }: Chain): Step {
  if (!claimName) return unknown('claim', 'none: the volume was made by hand, or for a host outside the cluster');
  const name = claimText(claimName);
  if (!claim)
    return isClaimGone ? (pods.length > 0 ? wrong : unknown)('claim', `there is no ${name}`) : unknown('claim', `${name} may not be read`);
  const phase = claim.status?.phase ?? 'Unknown';
  if (claim.metadata.deletionTimestamp) return wrong('claim', `${name} is being deleted`);
  return phase === 'Bound'
    ? ok('claim', `${name}: Bound`)
    : wrong('claim', `${name}: ${phase}: kubectl -n ${claimName.namespace} describe pvc ${claimName.name}`);
}

function volumeMissing(chain: Chain): Step {
  const { volumeName, claim, isVolumeHidden, isPersistentVolumeGone } = chain;
  if (volumeName === undefined)
    return wrong('volume', `the claim has no volume yet${claim?.spec.storageClassName ? ` (class ${claim.spec.storageClassName})` : ''}`);
  const dangling = danglingOf(chain);
  if (dangling) return wrong('volume', `${volumeName}: ${danglingText(dangling)}`);
  if (isPersistentVolumeGone) return wrong('volume', `there is no PersistentVolume ${volumeName}`);
  // Without the PersistentVolume, the name of the AoEVolume is a guess.
  return unknown('volume', `${isVolumeHidden ? 'AoEVolume' : 'PersistentVolume'} ${volumeName} may not be read`);
}

function persistentVolumeStep({ chain: { persistentVolume, volume } }: Way): Step {
  const name = volume?.metadata.name ?? '';
  if (!persistentVolume) return unknown('volume', `${name}: no PersistentVolume of it was found`);
  const phase = persistentVolume.status?.phase ?? 'Unknown';
  const text = `${name}, PersistentVolume ${persistentVolume.metadata.name}: ${phase}`;
  if (volume?.metadata.deletionTimestamp) return wrong('volume', `${text}; the AoEVolume is being deleted`);
  return phase === 'Bound' || phase === 'Available' ? ok('volume', text) : wrong('volume', text);
}

function attachmentStep({ chain, attachments }: Way, node: string): Step {
  const name = chain.persistentVolume?.metadata.name;
  if (!attachments) return unknown('attachment', 'VolumeAttachments may not be listed');
  if (name === undefined) return unknown('attachment', 'it would name the PersistentVolume, which was not found, or may not be read');
  const mine = attachments.filter(({ spec }) => spec.source.persistentVolumeName === name);
  const here = mine.find(({ spec }) => spec.nodeName === node);
  const elsewhere = mine.filter((each) => each !== here).map(({ spec }) => spec.nodeName);
  const others = elsewhere.length > 0 ? `; attached to ${elsewhere.join(', ')}, too` : '';
  if (!here) return wrong('attachment', `the volume is not attached to ${node}${others}`);
  const { attached, attachError, detachError } = here.status ?? {};
  const failed = attachError?.message ?? detachError?.message;
  if (here.metadata.deletionTimestamp)
    return wrong('attachment', `the volume is being detached from ${node}${failed ? `: ${failed}` : ''}`);
  if (attached) return ok('attachment', `to ${node}${others}`);
  return wrong('attachment', `not attached to ${node} yet${failed ? `: ${failed}` : ''}${others}`);
}

/** The pod's node: mount, disk, and what its interfaces reach. */
function nodeSteps(way: Way, volume: AoEVolume, name: string, now: number): (Step | undefined)[] {
  return [
    mountStep(way, name),
    ...encryptionSteps(way, volume, name),
    ...diskSteps(way, volume, name),
    initiatorStep(way, volume, name, now),
    admittedStep(volume, name),
  ];
}

function initiatorStep({ nodes, machines }: Way, volume: AoEVolume, name: string, now: number): Step {
  const machine = machines?.find(({ metadata }) => metadata.name === name);
  const [dead] = machine ? machineProblems(machine) : [];
  if (dead) return wrong('initiator', dead.message);
  const node = nodes?.find(({ metadata }) => metadata.name === name);
  if (!node)
    return nodes
      ? wrong('initiator', `${name} has no AoENode: does its aoe-csi-node pod run?`)
      : unknown('initiator', 'AoENodes may not be listed');
  const problem = nodeProblems(node, now).find(({ message }) => message.startsWith(NodeCondition.InitiatorReady));
  if (problem) return wrong('initiator', `${name}: ${problem.reason}: ${problem.message}`);
  const interfaces = (node.status?.interfaces ?? []).map(({ name: each, mtu }) => `${each} MTU ${mtu}`).join(', ');
  const segment = knownSegment(node, machines) ?? '?';
  const storage = nodes?.find(({ metadata }) => metadata.name === volume.spec.nodeName);
  const other = storage && knownSegment(storage, machines);
  if (other !== undefined && other !== segment)
    return wrong(
      'initiator',
      `${name} is on segment ${segment}, and the target on segment ${other}: AoE frames do not get from one to the other`,
    );
  return ok('initiator', `${name} on segment ${segment}: ${interfaces === '' ? 'no interface' : interfaces}`);
}

function admittedStep({ spec, status }: AoEVolume, name: string): Step | undefined {
  if (spec.external) return undefined;
  const isWanted = (spec.initiators.nodes ?? []).includes(name);
  if ((status?.initiators?.nodes ?? []).includes(name)) return ok('admitted', `the target admits ${name}`);
  return wrong(
    'admitted',
    isWanted ? `the target does not admit ${name} yet: see condition Exported` : `${name} is not in spec.initiators: it is cut off`,
  );
}

function lockStep(volume: AoEVolume, node: string | undefined, now: number): Step | undefined {
  const { holder } = volume.status ?? {};
  if (volume.spec.access !== 'Exclusive') return undefined;
  if (!holder) return node === undefined ? ok('lock', 'nobody has it') : wrong('lock', `nobody has it: ${node} has not staged the volume`);
  const text = `held by ${holderName(volume)}${holder.since === undefined ? '' : `, for ${age(holder.since, now)}`}`;
  if (holder.node === undefined) return wrong('lock', `${text}: it is not a lock of this project, and keeps all nodes away`);
  return node === undefined || node === holder.node ? ok('lock', text) : wrong('lock', `${text}, not by ${node}`);
}

function addressStep(way: Way, volume: AoEVolume): Step {
  const { status } = volume;
  const placed = conditionOf(volume, VolumeCondition.Placed);
  if (placed && placed.status !== 'True') return wrong('address', `${placed.reason}: ${placed.message}`);
  if (status?.address === undefined) return wrong('address', 'none yet: does the operator run?');
  const conflict = conditionOf(volume, VolumeCondition.AddressConflict);
  if (conflict?.status === 'True') return wrong('address', `${status.address}: ${conflict.message}`);
  const paths = (status.paths ?? [])
    .filter(({ local }) => !local || way.pod?.spec.nodeName === volume.spec.nodeName)
    .map(({ interface: name, mac, mtu }) => `${name} ${mac} MTU ${mtu}`)
    .join(', ');
  const smaller = smallerMtu(way, volume);
  if (smaller !== undefined) return wrong('address', smaller);
  return ok('address', `${status.address}${paths === '' ? '' : ` on ${paths}`}`);
}

/** A node that sends shorter frames than the target is well, but slow; one that can only take shorter ones loses answers. */
function smallerMtu({ nodes, pod }: Way, { status, spec }: AoEVolume): string | undefined {
  const node = nodes?.find(({ metadata }) => metadata.name === pod?.spec.nodeName);
  const targets = (status?.paths ?? []).filter(({ local }) => !local).map(({ mtu }) => mtu);
  const here = (node?.status?.interfaces ?? []).filter(({ local }) => !local).map(({ mtu }) => mtu);
  if (targets.length === 0 || here.length === 0 || node?.metadata.name === spec.nodeName) return undefined;
  if (Math.max(...here) <= Math.max(...targets)) return undefined;
  return `${status?.address}: the MTU of ${node?.metadata.name} is ${Math.max(...here)}, that of the target ${Math.max(...targets)}: frames of full length are lost`;
}

/** Storage node: target, backing volume, machine. */
function storageSteps({ nodes, machines, agentFacts, isExec, releasePods }: Way, volume: AoEVolume, now: number): Step[] {
  const { nodeName } = volume.spec;
  if (nodeName === undefined) return [];
  const exported = conditionOf(volume, VolumeCondition.Exported);
  const provisioned = conditionOf(volume, VolumeCondition.Provisioned);
  const node = nodes?.find(({ metadata }) => metadata.name === nodeName);
  const serving = node && conditionOf(node, NodeCondition.TargetReady);
  const machine = machines?.find(({ metadata }) => metadata.name === nodeName);
  const dead = machine ? machineProblems(machine)[0]?.message : machines && `there is no Node ${nodeName}`;
  const silent = node && silenceOf(node, now);
  const podOfTarget = releasePods?.find(
    (pod) => pod.spec.nodeName === nodeName && pod.metadata.labels?.['app.kubernetes.io/component'] === 'target',
  );
  const podProblem = podOfTarget && podProblems(podOfTarget)[0];
  const target = podProblem
    ? wrong('target', `${podProblem.subject}: ${podProblem.reason}: ${podProblem.message}`)
    : serving && serving.status !== 'True'
      ? wrong('target', `${serving.reason}: ${serving.message}`)
      : conditionStep('target', exported);
  const backing = conditionStep('backing volume', provisioned);
  return [
    target,
    isExec && backing.state === 'ok' && agentFacts ? backingSeen(agentFacts) : backing,
    dead !== undefined
      ? wrong('storage node', dead)
      : silent !== undefined
        ? wrong('storage node', silent)
        : machine
          ? ok('storage node', `${nodeName} is Ready`)
          : unknown('storage node', `${nodeName}: Nodes may not be listed`),
  ];
}

function conditionStep(name: string, condition: ReturnType<typeof conditionOf>): Step {
  if (!condition) return unknown(name, 'its agent has reported nothing yet');
  return condition.status === 'True' ? ok(name, condition.message) : wrong(name, `${condition.reason}: ${condition.message}`);
}

function backingSeen({ path, bytes, isSuspended, hasSocket }: AgentFacts): Step {
  if (path === undefined) return wrong('backing volume', 'the agent reports it, but it is not where it should be on the node');
  const text = `${path}${bytes === undefined ? '' : `, ${bytes} bytes`}`;
  if (isSuspended) return wrong('backing volume', `${text}: the device mapper has suspended it, so all its I/O waits (dmsetup info)`);
  return hasSocket ? ok('backing volume', text) : wrong('backing volume', `${text}; the target does not listen for its agent`);
}

/** Where the backing volume may be on its node. */
export function backingPaths(volume: AoEVolume, pools: readonly AoEPool[] | undefined): string[] {
  const { uid } = volume.metadata;
  const pool = pools?.find(({ metadata }) => metadata.name === volume.spec.pool);
  if (!pool || uid === undefined) return [];
  const { directory, volumeGroup } = pool.spec;
  return [
    ...(directory === undefined ? [] : [`${directory}/${uid}.img`]),
    ...(volumeGroup === undefined ? [] : [`/dev/${volumeGroup}/aoe-${uid}`]),
  ];
}
