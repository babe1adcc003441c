import { setTimeout as delay } from 'node:timers/promises';
import { type AoEVolume, BREAK_LOCK } from '../../api/volume.ts';
import { UsageError } from '../../run/config.ts';
import { eventsAbout } from '../cluster/events.ts';
import { findVolume } from '../cluster/find.ts';
import { AOE_VOLUMES, type Event, eventTime, type Pod } from '../cluster/objects.ts';
import { holderName, isNameOf } from '../cluster/volumes.ts';
import type { Context, ExitStatus } from '../context.ts';
import { age } from '../report/age.ts';

const WRITE_MS = 30_000;
/** How long the result is awaited, in milliseconds, and how often it is asked for. */
const RESULT_MS = 30_000;
const AGAIN_MS = 500;
const UNKNOWN = 'The order was taken, but its result is not known';

/** Whether the lock of a volume may be broken when a person names this holder, and if not, why. */
export type Verdict =
  | { readonly outcome: 'break'; readonly holder: string }
  | { readonly outcome: 'refuse'; readonly why: string }
  | { readonly outcome: 'free'; readonly why: string };

/** @param named the holder as the person named it: a node, or the whole config string, in quotes or not */
export function judge(volume: AoEVolume, named: string): Verdict {
  const { metadata, spec, status } = volume;
  const { name } = metadata;
  const { holder } = status ?? {};
  if (spec.external) {
    const { shelf, slot } = spec.external;
    const how = `clear it there, or by aoecfg -c fset -s "" ${shelf} ${slot} INTERFACE from a host that the target admits`;
    return {
      outcome: 'refuse',
      why: `the target of volume ${name} is outside this project, and nobody here can compare and clear its lock: ${how}`,
    };
  }
  if (!holder) return { outcome: 'free', why: `nobody has the lock of volume ${name}: there is nothing to break` };
  const known = [holder.node, holder.raw].find((each) => isNameOf(named, each));
  if (known !== undefined) return { outcome: 'break', holder: known };
  return { outcome: 'refuse', why: `the lock of volume ${name} is held by ${holderName(volume)}, not by "${named}": nothing was done` };
}

/** What a person must know before the lock is broken. */
export function warning(volume: AoEVolume, pods: readonly Pod[] | undefined, now: number): string[] {
  const { holder } = volume.status ?? {};
  const { node } = holder ?? {};
  const there = (pods ?? []).filter(({ spec }) => node !== undefined && spec.nodeName === node);
  const names = there.map(({ metadata }) => `${metadata.namespace}/${metadata.name}`).join(', ');
  return [
    `The lock of volume ${volume.metadata.name} is held by ${holderName(volume)}${holder?.since === undefined ? '' : `, for ${age(holder.since, now)}`}.`,
    node === undefined
      ? 'It is not a lock of this project: the string is cleared, and whoever has set it is not told.'
      : `${node} is cut off, and the lock is cleared: pods that use the volume there get I/O errors.`,
    ...(names === '' ? [] : [`These pods use it there: ${names}`]),
    ...(pods === undefined ? ['Which pods use it is not known, since rights are missing.'] : []),
    'Kubernetes does not learn that the volume was detached: better delete the pod, or its VolumeAttachment.',
  ];
}

/** The event that tells the result: the newest of those that were not known before the order was given. */
export function resultOf(events: readonly Event[], known: ReadonlySet<string>): Event | undefined {
  return events
    .filter((event) => isResult(event) && !known.has(identity(event)))
    .toSorted((a, b) => eventTime(a).localeCompare(eventTime(b)))
    .at(-1);
}

function isResult({ reason }: Event): boolean {
  return reason === 'LockBroken' || reason === 'LockNotBroken';
}

/** Not its time alone: the clock of the node that writes the event may be behind that of the one before. An event that is repeated keeps its name. */
function identity(event: Event): string {
  return `${event.metadata.name} ${eventTime(event)}`;
}

/** Whether the volume itself shows that whoever held the lock has it no longer: a node only when it may not use the volume either. */
export function hasLostLock({ status: before }: AoEVolume, { spec, status }: AoEVolume): boolean {
  const { node, raw } = before?.holder ?? {};
  if (status?.holder?.raw === raw) return false;
  return node === undefined || !(spec.initiators.nodes ?? []).includes(node);
}

export async function breakLock(context: Context): Promise<ExitStatus> {
  const { reader, kubectl, line, out, warn } = context;
  const { volume, pods } = await findVolume(reader, line.words[0] ?? '');
  const named = line.text('holder') ?? (volume.status?.holder && !volume.spec.external ? await askFor(context, volume, pods) : '');
  const verdict = judge(volume, named);
  if (verdict.outcome === 'free') {
    out(`${verdict.why}\n`);
    return 0;
  }
  if (verdict.outcome === 'refuse') {
    warn(`${verdict.why}\n`);
    return 1;
  }
  const { name } = volume.metadata;
  const known = new Set((await eventsOf(context, volume)).filter(isResult).map(identity));
  const order = ['annotate', `${AOE_VOLUMES.plural}.${AOE_VOLUMES.group}`, name, '--overwrite', `${BREAK_LOCK}=${verdict.holder}`];
  const written = await reader.orNote(() => kubectl.run(order, { timeoutMs: WRITE_MS }));
  if (written === undefined) return 1;
  out(
    `The agent on ${volume.spec.nodeName ?? 'the storage node'} was asked to break the lock of volume ${name} held by ${holderName(volume)}.\n`,
  );
  return awaitResult(context, volume, known);
}

function eventsOf({ reader }: Context, { metadata: { name, uid } }: AoEVolume): Promise<Event[]> {
  return eventsAbout(reader, { namespace: 'default', name, uid });
}

async function askFor({ ask, out, now }: Context, volume: AoEVolume, pods: readonly Pod[] | undefined): Promise<string> {
  if (!ask) throw new UsageError('break-lock: give --holder=NAME, since nobody is at a terminal who could be asked');
  out(`${warning(volume, pods, now()).join('\n')}\n`);
  return (await ask('To break the lock, type the name of its holder: ')).trim();
}

/**
 * Waits until the annotation is gone, which is when the agent has done what it asks or has refused it, and until an event says which.
 * Without an event, the volume decides: the person may not be allowed to list events, and an event can be lost.
 * @param before the volume as it was when the order was given
 * @param known the results that were there before
 */
async function awaitResult(context: Context, before: AoEVolume, known: ReadonlySet<string>): Promise<ExitStatus> {
  const { reader, out, warn, now } = context;
  const { name, uid } = before.metadata;
  const end = now() + RESULT_MS;
  for (;;) {
    const { object: volume, isHidden } = await reader.get<AoEVolume>(AOE_VOLUMES, name);
    if (!volume || volume.metadata.uid !== uid) {
      warn(isHidden ? `${UNKNOWN}: volume ${name} can no longer be read\n` : `Volume ${name} was deleted meanwhile\n`);
      return 1;
    }
    const isWaiting = volume.metadata.annotations?.[BREAK_LOCK] !== undefined;
    const result = isWaiting ? undefined : resultOf(await eventsOf(context, before), known);
    if (result) {
      const isBroken = result.reason === 'LockBroken';
      (isBroken ? out : warn)(`${result.message}\n`);
      return isBroken ? 0 : 1;
    }
    if (now() < end) {
      await delay(AGAIN_MS);
      continue;
    }
    if (isWaiting) {
      warn(
        `Nothing has happened for ${RESULT_MS / 1000} s. The annotation stays, and the lock is broken when the agent of the volume's storage node runs.\n`,
      );
      return 1;
    }
    if (hasLostLock(before, volume)) {
      out(`No event about it was found, but by the status of the volume ${holderName(before)} no longer has the lock.\n`);
      return 0;
    }
    warn(`${UNKNOWN}: no event about it was found, and the volume does not show it. See kubectl aoe locks\n`);
    return 1;
  }
}
