import fc from 'fast-check';
import type { KubeNode } from '../../../api/kube-node.ts';
import type { AoENode } from '../../../api/node.ts';
import { AOE_NODES, AOE_VOLUMES, NODES, PODS, VOLUME_ATTACHMENTS } from '../../../api/resources.ts';
import { type AoEVolume, takenFrom } from '../../../api/volume.ts';
import { KubeError } from '../../../kube/mod.ts';
import { FRESH_MS } from '../../../operator/takeover/decide.ts';
import { claim, SilentNode } from '../../../operator/testing/silent-node.ts';
import { type Answered, check } from './history.ts';

const TICK_MS = 500;
const TICKS = 300;
/** After the last fault and the last new leader: what was begun by then is done. */
const REST_TICKS = 120;
const AFTER = '20s';
/**
 * For how long a target has not heard a node that loses a volume. Its own target: for the time above, and for the 10 s between the two verdicts;
 * a target says whole seconds. Another one may have been stopped at the first verdict.
 */
const SILENT_MS = { s1: 29_000, s2: 20_000 } as const;
/** Ticks after which Kubernetes notes that a node is silent, and that it is not. */
const NOTED = [4, 8] as const;

const KINDS = [
  'hangs',
  'kubelet is silent',
  's1 is deaf',
  's2 is deaf',
  's1 is stopped',
  's2 is stopped',
  'nothing is enforced',
  'no patch gets through',
] as const;
type Kind = (typeof KINDS)[number];
interface Fault {
  kind: Kind;
  from: number;
  ticks: number;
}

/** Half of them are of the node, and some as long as a takeover takes. */
const fault = (kinds: readonly Kind[]): fc.Arbitrary<Fault> =>
  fc.record({
    kind: fc.constantFrom(...kinds),
    from: fc.integer({ min: 0, max: TICKS / 2 }),
    ticks: fc.oneof(fc.integer({ min: 1, max: 20 }), fc.integer({ min: 50, max: 130 })),
  });
const history = fc.record({
  faults: fc.tuple(
    fc.array(fault(['hangs', 'kubelet is silent']), { minLength: 1, maxLength: 3 }),
    fc.array(fault(KINDS.slice(2)), { maxLength: 4 }),
  ),
  /** Ticks in which another operator begins to lead. */
  restarts: fc.array(fc.integer({ min: 0, max: TICKS }), { maxLength: 3 }),
});

type Target = 's1' | 's2';
/** When a target answered, and for how long it had really not heard the node then. */
interface Heard {
  at: number;
  silentMs: number;
}

/** The real operator code, and hosts w1 and w2 that write the log of one volume: as in the lab of processes, in a time of its own. */
class World {
  readonly it = new SilentNode({ after: AFTER });
  readonly answered: Answered[] = [];
  readonly disk: number[] = [];
  /** When a target heard w1 last. */
  readonly #heardAt = { s1: this.it.now, s2: this.it.now };
  /** By question. */
  readonly #answers = new Map<string, Map<Target, Heard>>();
  readonly #faults: readonly Fault[];
  #tick = 0;
  /** Which host the target admits, and who has its lock, with the epoch. */
  #admitted: readonly string[] = ['w1'];
  #lock: { host: string; epoch: number } | undefined = { host: 'w1', epoch: 1 };
  readonly #epochs = { w1: 1, w2: 0 };
  #reconcileAt = 0;
  taken = false;

  constructor(faults: readonly Fault[]) {
    this.#faults = faults;
    this.it.volume('v');
    this.it.pod('p', [claim('v')]);
    this.it.beforeWrite = () => {
      const { spec, metadata } = this.#volume;
      if (spec.initiators.nodes?.includes('w1') && !takenFrom({ metadata })) this.#mayBeTaken();
      return undefined;
    };
    this.it.check = (kind, name) => expect(this.#admitted, `${kind} ${name} goes, and the target refuses the node`).not.toContain('w1');
  }

  get #volume(): AoEVolume {
    return this.it.api.read<AoEVolume>(AOE_VOLUMES, 'v') as AoEVolume;
  }

  #is(kind: Kind, tick = this.#tick): boolean {
    return this.#faults.some((each) => each.kind === kind && each.from <= tick && tick < each.from + each.ticks);
  }

  /** What must be true, whatever the operator knows. */
  #mayBeTaken(): void {
    const node = this.it.api.read<KubeNode>(NODES, 'w1');
    expect(node?.status?.conditions?.[0]?.status, 'Kubernetes does not hear the node').toBe('Unknown');
    const question = this.it.api.read<AoENode>(AOE_NODES, 'w1')?.status?.suspicion?.question ?? '';
    const answers = this.#answers.get(question) ?? new Map<Target, Heard>();
    expect([...answers.keys()], 'its own target has answered').toContain('s1');
    for (const [target, { at, silentMs }] of answers) {
      expect(silentMs, `${target} had not heard the node for long`).toBeGreaterThanOrEqual(SILENT_MS[target]);
      expect(this.it.now - at, `what ${target} said is not old`).toBeLessThanOrEqual(FRESH_MS);
    }
  }

  async tick({ isNewLeader = false } = {}): Promise<void> {
    this.#tick++;
    this.it.now += TICK_MS;
    if (!this.#is('hangs')) {
      this.#write('w1');
      for (const target of ['s1', 's2'] as const) if (!this.#is(`${target} is deaf`)) this.#heardAt[target] = this.it.now;
    }
    this.#write('w2');
    this.#kubernetes();
    this.#answer();
    if (isNewLeader) this.it.restart();
    await this.#operate(isNewLeader);
    // A write that did not get through has taken nothing.
    this.taken ||= !this.#volume.spec.initiators.nodes?.includes('w1');
    if (!this.#is('s1 is stopped') && !this.#is('nothing is enforced')) this.#enforce();
    await this.#publish();
    this.it.detach();
  }

  /** A host writes its next record for as long as it lives: it does not believe that it lost the volume. */
  #write(host: 'w1' | 'w2'): void {
    const epoch = this.#epochs[host];
    if (epoch === 0 || this.#is('s1 is stopped') || !this.#admitted.includes(host) || this.#lock?.host !== host) return;
    this.answered.push({ epoch, position: this.disk.length });
    this.disk.push(epoch);
  }

  #kubernetes(): void {
    const [first, last] = NOTED;
    let isUnknown = this.#is('kubelet is silent');
    for (let ago: number = first; ago <= last; ago++) isUnknown ||= this.#is('hangs', this.#tick - ago);
    const before = this.it.api.read<KubeNode>(NODES, 'w1')?.status?.conditions?.[0]?.status === 'Unknown';
    if (isUnknown === before) return;
    this.it.ready('w1', !isUnknown);
    this.#reconcileAt = 0;
  }

  /** Each agent answers a question once, when its target runs. */
  #answer(): void {
    const question = this.it.api.read<AoENode>(AOE_NODES, 'w1')?.status?.suspicion?.question;
    if (question === undefined) return;
    const answers = this.#answers.get(question) ?? new Map<Target, Heard>();
    this.#answers.set(question, answers);
    for (const target of ['s1', 's2'] as const) {
      if (answers.has(target) || this.#is(`${target} is stopped`)) continue;
      const silentMs = this.it.now - this.#heardAt[target];
      answers.set(target, { at: this.it.now, silentMs });
      this.it.silentSeconds[target] = Math.floor(silentMs / 1000);
      this.it.answer(target);
      this.#reconcileAt = 0;
    }
  }

  async #operate(isNewLeader: boolean): Promise<void> {
    if (!isNewLeader && this.it.now < this.#reconcileAt) return;
    const isAway = this.#is('no patch gets through');
    if (isAway) this.it.api.failNext('patch', new KubeError(500, 'Internal', 'a test'));
    const ms = await this.it.reconcile().catch((error: unknown) => {
      if (!(error instanceof KubeError)) throw error;
      return TICK_MS;
    });
    this.#reconcileAt = this.it.now + (ms ?? 5_000);
  }

  /** The agent of s1: first the target refuses, and loses the lock of whom it refuses; then the status says so. */
  #enforce(): void {
    const { metadata, spec, status } = this.#volume;
    if (status?.initiators?.observedGeneration === metadata.generation) return;
    this.#admitted = spec.initiators.nodes ?? [];
    if (this.#lock && !this.#admitted.includes(this.#lock.host)) this.#lock = undefined;
    this.it.enforce();
  }

  /** The new pod is on w2: its attachment is made as soon as the other one is gone. It takes the lock, and goes on with the log. */
  async #publish(): Promise<void> {
    const { metadata, spec, status } = this.#volume;
    const isFree = (spec.initiators.nodes ?? []).length === 0 && status?.initiators?.observedGeneration === metadata.generation;
    if (isFree && !this.it.api.read(VOLUME_ATTACHMENTS, 'v-w1'))
      await this.it.api.patch(AOE_VOLUMES, 'v', { spec: { initiators: { nodes: ['w2'] } } }).catch(() => {});
    if (!this.#admitted.includes('w2') || this.#lock) return;
    this.#epochs.w2 = 2;
    this.#lock = { host: 'w2', epoch: 2 };
  }

  /** Whether w1 hung for so long, with nothing else wrong meanwhile, that it must have lost the volume. */
  get mustBeTaken(): boolean {
    return this.#faults.some(
      ({ kind, from, ticks }) =>
        kind === 'hangs' &&
        ticks * TICK_MS > 50_000 &&
        this.#faults.every((other) => other.kind === 'hangs' || other.from > from + ticks || other.from + other.ticks < from),
    );
  }

  /** Nothing of w1 is left where the volume was taken, and all of it where it was not. */
  checkEnd(): void {
    expect(check(this.answered, this.disk)).toStrictEqual([]);
    expect(this.disk.at(-1)).toBe(this.taken ? 2 : 1);
    expect(this.it.api.read(PODS, 'p') === undefined).toBe(this.taken);
    expect(takenFrom(this.#volume)).toBeUndefined();
  }
}

test('a node loses its volume when no target hears it, and only then; no record is lost and none comes late', async () => {
  const seen = { taken: 0, kept: 0 };
  await fc.assert(
    fc.asyncProperty(history, async ({ faults, restarts }) => {
      const world = new World(faults.flat());
      for (let tick = 0; tick < TICKS + REST_TICKS; tick++) await world.tick({ isNewLeader: restarts.includes(tick) });
      if (restarts.length === 0 && world.mustBeTaken) expect(world.taken, 'it hung for long').toBe(true);
      world.checkEnd();
      seen[world.taken ? 'taken' : 'kept']++;
    }),
    { numRuns: 150 },
  );
  expect(Math.min(seen.taken, seen.kept), JSON.stringify(seen)).toBeGreaterThan(10);
});
