import { listed } from '../listed.ts';

/**
 * How long after a node was seen not Ready, or after this program began to lead, nothing is decided. When a switch or the API server fails,
 * many nodes become not Ready within a few seconds: then they must all be known.
 */
export const SETTLE_MS = 10_000;
/** How long to wait for the answers of all targets that should answer. */
export const ANSWER_MS = 5_000;
/** Answers to a question that is older than this count for nothing. */
export const FRESH_MS = 15_000;
/** The shortest time between two questions. */
const MIN_PAUSE_MS = 2_000;
/** While something stops a takeover that only time or a person can end. */
const HELD_RETRY_MS = 15_000;

/** What one target says about the node. It was asked after the question was written, so its silence lasted until then at least. */
export interface Answer {
  readonly question: string;
  /** For at least how long the target had not heard the node. */
  readonly silentMs: number;
  /** How many of the other nodes it hears, of how many. */
  readonly hears: number;
  readonly of: number;
}

/** What is known about a node. All times are this program's monotonic milliseconds: no two clocks are compared. */
export interface View {
  readonly now: number;
  readonly leadingSince: number;
  /** Since when this program has seen the node not Ready without a break; undefined while it is Ready. */
  readonly notReadySince: number | undefined;
  /** Whether the node sends heartbeats: one that does not is silent while its disks are idle. */
  readonly hasHeartbeat: boolean;
  /** The question that was asked last about this node. */
  readonly question: { readonly id: string; readonly askedAt: number } | undefined;
  /** All nodes with volumes or data of ours. */
  readonly cluster: { readonly nodes: number; readonly notReady: number };
  readonly targets: readonly {
    readonly node: string;
    /** It serves, and its node is Ready: it should answer. */
    readonly expected: boolean;
    readonly answer: Answer | undefined;
  }[];
  /** Volumes that the node has and that could be taken, with the storage node of each, and the silence after which each is taken. */
  readonly volumes: readonly { readonly name: string; readonly storage: string; readonly afterMs: number }[];
}

export type HeldReason = 'TooManySilent' | 'NoHeartbeat' | 'NoEvidence';

export type Decision =
  /** The node is Ready, or has nothing to be taken. */
  | { readonly do: 'nothing' }
  /** `heard`: a target has heard the node. Otherwise for time or answers. */
  | { readonly do: 'wait'; readonly ms: number; readonly heard?: true }
  /** A new question. */
  | { readonly do: 'ask' }
  /** Something other than the node speaks against it. */
  | { readonly do: 'hold'; readonly reason: HeldReason; readonly message: string; readonly ms: number }
  /** The volumes that can be taken: those whose time is over, and whose targets answered. `silentMs`: for how long at least no target had heard the node when the question was asked. */
  | { readonly do: 'take'; readonly volumes: readonly string[]; readonly silentMs: number };

/**
 * What to do about a node: a volume of it is taken only when the node is not Ready, and every target that answers has not heard it for the
 * volume's `afterMs`. A target that does not answer, or does not hear most other nodes either, is no evidence; one that heard the node is a veto
 * in any case.
 */
export function decide(view: View): Decision {
  const { now, leadingSince, notReadySince, question, cluster, volumes } = view;
  if (notReadySince === undefined || volumes.length === 0) return { do: 'nothing' };
  if (!view.hasHeartbeat) return held('NoHeartbeat', 'its node plugin sends no heartbeats, so its silence means nothing');
  const settledAt = Math.max(leadingSince, notReadySince) + SETTLE_MS;
  if (now < settledAt) return { do: 'wait', ms: settledAt - now };
  if (cluster.notReady * 3 > cluster.nodes) {
    const many = `${cluster.notReady} of ${cluster.nodes} nodes are not Ready`;
    return held('TooManySilent', `${many}, more than a third: the fault may be in the network or the API server`);
  }
  if (!question || question.askedAt > now) return { do: 'ask' };
  const age = now - question.askedAt;
  const answered = view.targets.filter(({ answer }) => answer?.question === question.id);
  const answers = answered.flatMap(({ answer }) => answer ?? []);
  const shortestMs = Math.min(...answers.map(({ silentMs }) => silentMs));
  const firstAfterMs = Math.min(...volumes.map(({ afterMs }) => afterMs));
  if (shortestMs < firstAfterMs) {
    const pause = Math.max(MIN_PAUSE_MS, firstAfterMs - shortestMs);
    return age < pause ? { do: 'wait', ms: pause - age, heard: true } : { do: 'ask' };
  }
  if (age > FRESH_MS) return { do: 'ask' };
  const isComplete = view.targets.every(({ expected, answer }) => !expected || answer?.question === question.id);
  if (!isComplete && age < ANSWER_MS) return { do: 'wait', ms: ANSWER_MS - age };
  const witnesses = new Set(answered.filter(({ answer }) => answer && hearsOthers(answer)).map(({ node }) => node));
  const due = volumes.filter(({ afterMs }) => afterMs <= shortestMs);
  const evident = due.filter(({ storage }) => witnesses.has(storage)).map(({ name }) => name);
  if (evident.length > 0) return { do: 'take', volumes: evident, silentMs: shortestMs };
  const storages = [...new Set(due.map(({ storage }) => storage))].sort();
  const hasAnswered = new Set(answered.map(({ node }) => node));
  const missing = storages.filter((each) => !hasAnswered.has(each));
  const deaf = storages.filter((each) => hasAnswered.has(each));
  return held('NoEvidence', whyNot(missing, deaf));
}

/** @param deaf those that answered, and are no evidence */
function whyNot(missing: readonly string[], deaf: readonly string[]): string {
  const why: string[] = [];
  const reason = 'it is down, serves on no interface, or was not replaced since an upgrade';
  if (missing.length > 0) why.push(`no answer from the target on ${listed(missing)}: ${reason}`);
  if (deaf.length > 0) why.push(`the target on ${listed(deaf)} does not hear most other nodes either`);
  return why.join('; ');
}

/** Two thirds of the others, and at least one: else the fault may be at the target's own interface. */
function hearsOthers({ hears, of }: Answer): boolean {
  return hears > 0 && hears * 3 >= of * 2;
}

function held(reason: HeldReason, message: string): Decision {
  return { do: 'hold', reason, message, ms: HELD_RETRY_MS };
}
