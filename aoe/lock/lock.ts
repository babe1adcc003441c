import type { ConfigReply, ExchangeOptions, Initiator, Path, TargetAddress } from '../initiator.ts';
import { ErrorCode } from '../wire/header.ts';
import { escapeString, formatLock, type LockOwner, type LockText, parseLock, sameBytes, sameOwner } from './text.ts';

/** The holder of a disk. `lock` is absent when the config string is not a lock in our format. */
export interface LockHolder {
  readonly lock: LockText | undefined;
  /** The config string as stored, with non-printing bytes escaped. */
  readonly raw: string;
}

export type AcquireResult =
  /** The lock is ours on every path that answered. */
  | { readonly outcome: 'held'; readonly lock: LockText /** The string as stored. */; readonly raw: string }
  /** Another host has the lock, or the config string is not a lock in our format. */
  | { readonly outcome: 'occupied'; readonly holder: LockHolder }
  /** The target refuses config commands with this AoE error. */
  | { readonly outcome: 'refused'; readonly error: number }
  /** No target answered, or it stopped answering. The lock may be ours or not: try again, or release. */
  | { readonly outcome: 'unanswered' };

export type ReleaseResult =
  /** The lock is not ours: it was released now, or had been before. */
  { readonly outcome: 'released' } | { readonly outcome: 'refused'; readonly error: number } | { readonly outcome: 'unanswered' };

/** A request of the lock to the network. The answers come back as a list, which is empty when there were none. */
export type LockRequest =
  | { readonly kind: 'query' }
  | { readonly kind: 'setIfEmpty'; readonly to: Path; readonly next: Uint8Array }
  | { readonly kind: 'testAndReplace'; readonly to: Path; readonly old: Uint8Array; readonly next: Uint8Array }
  | { readonly kind: 'force'; readonly to: Path; readonly next: Uint8Array };

type Steps<R> = Generator<LockRequest, R, readonly ConfigReply[]>;

const NOTHING = new Uint8Array();
/** Rounds of query and change. If none settles who has the lock, the result is `unanswered`. */
const ROUNDS = 4;
const FORCE_TIMEOUT_MS = 250;

const unsupported = (reply: ConfigReply): boolean => reply.error === ErrorCode.BadArgument || reply.error === ErrorCode.UnrecognizedCommand;
const holderOf = (reply: ConfigReply): LockHolder => ({ lock: parseLock(reply.string), raw: escapeString(reply.string) });
const refusal = (reply: ConfigReply): boolean => reply.error !== 0 && reply.error !== ErrorCode.ConfigStringPresent;

/**
 * Takes the lock, step by step, without I/O. `since` must differ from that of every earlier lock of this owner, so that a release
 * that was delayed in the network cannot hit the new lock.
 *
 * - The config string is empty: set if empty. Error 4 means that another host was faster, or that our answer was lost and this answer
 *   is to a repetition. The returned string shows which.
 * - It is an earlier lock of this owner: replace it by the new one (command 5), so that a delayed release cannot hit it. A target
 *   that does not know the command keeps the earlier lock.
 * - It belongs to another host: undo what was set on other paths, and return the holder.
 *
 * Several paths to one target always agree. Several processes behind one address (vblade, one for each interface) are locked one
 * after the other, in the order of their MAC addresses.
 */
export function* acquireSteps(owner: LockOwner, since: string): Steps<AcquireResult> {
  const lock: LockText = { ...owner, since };
  const mine = formatLock(lock);
  /** Paths to targets that keep an earlier lock of this owner. */
  const older = new Map<string, LockText>();
  for (let round = 0; round < ROUNDS; round++) {
    const replies = yield { kind: 'query' };
    const answers = replies.filter((reply) => !refusal(reply));
    const [refused] = replies.filter(refusal);
    if (answers.length === 0) return refused ? { outcome: 'refused', error: refused.error } : { outcome: 'unanswered' };
    let certain = true;
    for (const reply of answers) {
      const present = parseLock(reply.string);
      if (reply.string.length > 0 && !sameOwner(present, owner)) {
        yield* undo(answers, mine);
        return { outcome: 'occupied', holder: holderOf(reply) };
      }
    }
    for (const reply of answers) {
      if (sameBytes(reply.string, mine) || older.has(reply.mac)) continue;
      const change: LockRequest =
        reply.string.length === 0
          ? { kind: 'setIfEmpty', to: reply, next: mine }
          : { kind: 'testAndReplace', to: reply, old: reply.string, next: mine };
      const [answer] = yield change;
      if (!answer) certain = false;
      else if (answer.error === 0) continue;
      else if (change.kind === 'testAndReplace' && unsupported(answer)) older.set(reply.mac, parseLock(reply.string) ?? lock);
      else if (refusal(answer)) return { outcome: 'refused', error: answer.error };
      // Error 4. The answer should carry the present string. If it is not ours, query again, since not every target sends it.
      else if (!sameBytes(answer.string, mine)) certain = false;
    }
    if (certain) {
      const held = older.values().next().value ?? lock;
      return { outcome: 'held', lock: held, raw: escapeString(formatLock(held)) };
    }
  }
  return { outcome: 'unanswered' };
}

function* undo(replies: readonly ConfigReply[], mine: Uint8Array): Steps<void> {
  for (const reply of replies) {
    if (sameBytes(reply.string, mine)) yield* clear(reply, mine);
  }
}

/** Empties the config string on one path if it equals `present`. Returns the answer, if there was one. */
function* clear(to: Path, present: Uint8Array): Steps<ConfigReply | undefined> {
  const [answer] = yield { kind: 'testAndReplace', to, old: present, next: NOTHING };
  if (!answer || !unsupported(answer)) return answer;
  // This target has no compare-and-set: query, then force. A lock that another host takes between the two would be lost.
  const seen = (yield { kind: 'query' }).find((reply) => reply.mac === to.mac && reply.interfaceName === to.interfaceName);
  if (!seen || !sameBytes(seen.string, present)) return seen;
  const [forced] = yield { kind: 'force', to, next: NOTHING };
  return forced;
}

/** Releases the lock, step by step. A config string that is not a lock of this owner stays. */
export function* releaseSteps(owner: LockOwner): Steps<ReleaseResult> {
  for (let round = 0; round < ROUNDS; round++) {
    const replies = yield { kind: 'query' };
    if (replies.length === 0) return { outcome: 'unanswered' };
    const ours = replies.filter((reply) => sameOwner(parseLock(reply.string), owner));
    if (ours.length === 0) {
      const [refused] = replies.filter(refusal);
      return refused ? { outcome: 'refused', error: refused.error } : { outcome: 'released' };
    }
    let certain = true;
    for (const reply of ours) {
      const answer = yield* clear(reply, reply.string);
      if (answer && refusal(answer)) return { outcome: 'refused', error: answer.error };
      if (answer?.error !== 0) certain = false;
    }
    if (certain) return { outcome: 'released' };
  }
  return { outcome: 'unanswered' };
}

async function run<R>(steps: Steps<R>, initiator: Initiator, address: TargetAddress, options: ExchangeOptions): Promise<R> {
  let step = steps.next();
  while (!step.done) {
    const request = step.value;
    step = steps.next(await perform(request, initiator, address, options));
  }
  return step.value;
}

function perform(request: LockRequest, initiator: Initiator, address: TargetAddress, options: ExchangeOptions): Promise<ConfigReply[]> {
  switch (request.kind) {
    case 'query':
      return initiator.query(address, options);
    case 'setIfEmpty':
      return initiator.setIfEmpty(address, request.next, { ...options, to: request.to });
    case 'testAndReplace':
      return initiator.testAndReplace(address, request.old, request.next, { ...options, to: request.to });
    case 'force':
      // Sent once: a repetition after a lost answer could hit a lock that another host has taken meanwhile. The next round queries again.
      return initiator.force(address, request.next, { ...options, to: request.to, attempts: 1, timeoutMs: FORCE_TIMEOUT_MS });
  }
}

/**
 * Takes the lock of a disk for a node.
 * @param since from `lockTime()`, a new one for each call
 * @param options `timeoutMs` limits each exchange, not the whole call
 */
export function acquire(
  initiator: Initiator,
  address: TargetAddress,
  owner: LockOwner,
  since: string,
  options: ExchangeOptions = {},
): Promise<AcquireResult> {
  return run(acquireSteps(owner, since), initiator, address, options);
}

/** Releases the lock of a disk. A lock of another owner stays. */
export function release(
  initiator: Initiator,
  address: TargetAddress,
  owner: LockOwner,
  options: ExchangeOptions = {},
): Promise<ReleaseResult> {
  return run(releaseSteps(owner), initiator, address, options);
}

/** The time with microseconds, so that no two locks of a process are equal. */
export function lockTime(): string {
  const micros = Math.floor((performance.timeOrigin + performance.now()) * 1000);
  return `${new Date(Math.floor(micros / 1000)).toISOString().slice(0, -1)}${String(micros % 1000).padStart(3, '0')}Z`;
}
