import fc from 'fast-check';
import { type Answer, decide, FRESH_MS, SETTLE_MS, type View } from './decide.ts';

const AFTER = 30_000;
const answer = (silentMs: number, { question = 'q', hears = 2, of = 2 } = {}): Answer => ({ question, silentMs, hears, of });

/** A node that was silent for long, and about which the targets s1 and s2 were just asked. */
function view(change: Partial<View> = {}): View {
  return {
    now: 100_000,
    leadingSince: 0,
    notReadySince: 80_000,
    hasHeartbeat: true,
    question: { id: 'q', askedAt: 99_000 },
    cluster: { nodes: 5, notReady: 1 },
    targets: [
      { node: 's1', expected: true, answer: answer(60_000) },
      { node: 's2', expected: true, answer: answer(45_000) },
    ],
    volumes: [
      { name: 'a', storage: 's1', afterMs: AFTER },
      { name: 'b', storage: 's2', afterMs: AFTER },
    ],
    ...change,
  };
}

const targets = (...answers: (Answer | undefined)[]): View['targets'] =>
  answers.map((each, index) => ({ node: `s${index + 1}`, expected: true, answer: each }));

describe('decide', () => {
  it('takes the volumes of a node that is not Ready and that no target has heard', () => {
    expect(decide(view())).toStrictEqual({ do: 'take', volumes: ['a', 'b'], silentMs: 45_000 });
  });

  it('does nothing about a node that is Ready, or has no volume', () => {
    expect(decide(view({ notReadySince: undefined }))).toStrictEqual({ do: 'nothing' });
    expect(decide(view({ volumes: [] }))).toStrictEqual({ do: 'nothing' });
  });

  it('waits and asks again when one target has heard the node, whatever the others say', () => {
    expect(decide(view({ targets: targets(answer(60_000), answer(12_000)) }))).toStrictEqual({ do: 'wait', ms: 17_000, heard: true });
    expect(decide(view({ targets: targets(answer(60_000), answer(12_000)), now: 117_000 }))).toStrictEqual({ do: 'ask' });
    const deaf = answer(3_000, { hears: 0 });
    expect(decide(view({ targets: targets(answer(60_000), deaf) })), 'also one that hears nobody else').toMatchObject({ do: 'wait' });
  });

  it('takes each volume after its own time, and waits for the first of them', () => {
    const volumes = [
      { name: 'soon', storage: 's1', afterMs: 20_000 },
      { name: 'late', storage: 's2', afterMs: 300_000 },
    ];
    const silent = (ms: number, change: Partial<View> = {}) =>
      decide(view({ volumes, targets: targets(answer(ms), answer(ms)), ...change }));
    expect(silent(19_000)).toStrictEqual({ do: 'wait', ms: 1_000, heard: true });
    expect(silent(20_000)).toMatchObject({ do: 'take', volumes: ['soon'] });
    expect(silent(300_000)).toMatchObject({ do: 'take', volumes: ['soon', 'late'] });
    const deaf = answer(60_000, { hears: 0 });
    const noEvidence = decide(view({ volumes, targets: targets(deaf, deaf) }));
    expect(noEvidence, 'no word of a volume whose time is not over').toMatchObject({
      do: 'hold',
      message: 'the target on s1 does not hear most other nodes either',
    });
  });

  it('takes nothing without an answer to the present question', () => {
    const silent = view({ targets: targets(undefined, undefined) });
    expect(decide(silent)).toMatchObject({ do: 'wait' });
    expect(decide({ ...silent, now: 105_000 })).toMatchObject({ do: 'hold', reason: 'NoEvidence' });
    const old = view({ targets: targets(answer(60_000, { question: 'p' }), answer(60_000, { question: 'p' })), now: 105_000 });
    expect(decide(old)).toMatchObject({ do: 'hold', reason: 'NoEvidence' });
    expect(decide(view({ now: 99_001 + FRESH_MS }))).toStrictEqual({ do: 'ask' });
    expect(decide(view({ question: undefined }))).toStrictEqual({ do: 'ask' });
  });

  it('leaves volumes whose own target does not answer', () => {
    const one = view({ targets: targets(answer(60_000), undefined) });
    expect(decide(one)).toMatchObject({ do: 'wait' });
    expect(decide({ ...one, now: 104_000 })).toMatchObject({ do: 'take', volumes: ['a'] });
  });

  it('does not believe a target that does not hear the others', () => {
    const deaf = answer(60_000, { hears: 1, of: 2 });
    expect(decide(view({ targets: targets(deaf, answer(60_000)) }))).toMatchObject({ do: 'take', volumes: ['b'] });
    expect(decide(view({ targets: targets(deaf, deaf) }))).toMatchObject({ do: 'hold', reason: 'NoEvidence' });
    const alone = answer(60_000, { hears: 0, of: 0 });
    expect(decide(view({ targets: targets(alone, alone) }))).toMatchObject({ do: 'hold', reason: 'NoEvidence' });
  });

  it('names the storage nodes whose targets give no evidence', () => {
    const deaf = answer(60_000, { hears: 1, of: 2 });
    const message = (...answers: (Answer | undefined)[]) => {
      const decision = decide(view({ targets: targets(...answers), now: 105_000 }));
      return 'message' in decision ? decision.message : decision.do;
    };
    const old = 'no answer from the target on s1, s2: it is down, serves on no interface, or was not replaced since an upgrade';
    expect(message(undefined, undefined)).toBe(old);
    expect(message(undefined, deaf)).toBe(
      'no answer from the target on s1: it is down, serves on no interface, or was not replaced since an upgrade; the target on s2 does not hear most other nodes either',
    );
    const many = view({
      targets: [],
      volumes: ['c', 'd', 'a', 'b', 'f', 'e', 'g'].map((name) => ({ name, storage: name, afterMs: AFTER })),
      now: 105_000,
    });
    expect(decide(many)).toMatchObject({ message: expect.stringMatching(/^no answer from the target on a, b, c, d, e and 2 more: /) });
  });

  it('stops when more than a third of the nodes are not Ready', () => {
    expect(decide(view({ cluster: { nodes: 5, notReady: 2 } }))).toMatchObject({ do: 'hold', reason: 'TooManySilent' });
    expect(decide(view({ cluster: { nodes: 3, notReady: 1 } }))).toMatchObject({ do: 'take' });
    expect(decide(view({ cluster: { nodes: 2, notReady: 1 } }))).toMatchObject({ do: 'hold' });
  });

  it('decides nothing about a node without heartbeats, nor before it has watched for a while', () => {
    expect(decide(view({ hasHeartbeat: false }))).toMatchObject({ do: 'hold', reason: 'NoHeartbeat' });
    expect(decide(view({ leadingSince: 95_000 }))).toStrictEqual({ do: 'wait', ms: 5_000 });
    expect(decide(view({ notReadySince: 99_000 }))).toStrictEqual({ do: 'wait', ms: 9_000 });
  });
});

/**
 * A node that is heard at random times by three targets, whose answers come late, get lost, or belong to earlier questions. The operator is
 * replaced now and then.
 */
const STEP_MS = 500;
const step = fc.record({
  /** Which targets hear the node in this step. */
  heard: fc.array(fc.boolean(), { minLength: 3, maxLength: 3 }),
  /** Which targets read the newest question now, and answer it. */
  reads: fc.array(fc.boolean(), { minLength: 3, maxLength: 3 }),
  /** Whether the operator sees the answers that were written so far. */
  sees: fc.boolean(),
  ready: fc.constantFrom('as before', 'as before', 'as before', 'as before', 'as before', 'other'),
  newLeader: fc.integer({ min: 0, max: 39 }).map((number) => number === 0),
});

test('a node is never taken from while a target that answers has heard it within the time', () => {
  let taken = 0;
  const after = [20_000, AFTER, 45_000];
  const nearlySilent = fc.constantFrom(0, 0.002, 0.02, 0.3);
  fc.assert(
    fc.property(fc.array(step, { minLength: 150, maxLength: 400 }), nearlySilent, fc.integer(), (steps, share, seed) => {
      const hearsNow = (index: number, target: number): boolean => {
        const noise = Math.abs(Math.sin((seed % 1000) + index * 13.7 + target * 7.3) * 10_000) % 1;
        return (steps[index]?.heard[target] ?? false) && noise < share;
      };
      const lastHeard = [0, 0, 0];
      const written: (Answer | undefined)[] = [undefined, undefined, undefined];
      let seen: (Answer | undefined)[] = [...written];
      let question: View['question'];
      let [leadingSince, count] = [0, 0];
      let notReadySince: number | undefined;
      for (const [index, { reads, sees, ready, newLeader }] of steps.entries()) {
        const now = index * STEP_MS;
        for (const target of [0, 1, 2]) if (hearsNow(index, target)) lastHeard[target] = now;
        if (newLeader) [leadingSince, question] = [now, undefined];
        if (ready === 'other') notReadySince = notReadySince === undefined ? now : undefined;
        for (const target of [0, 1, 2])
          if (reads[target] && question) written[target] = answer(now - (lastHeard[target] ?? 0), { question: question.id });
        if (sees) seen = [...written];
        const decision = decide({
          ...view({ now, leadingSince, notReadySince, question }),
          targets: targets(...seen),
          volumes: after.map((afterMs, target) => ({ name: `v${target + 1}`, storage: `s${target + 1}`, afterMs })),
        });
        if (decision.do === 'ask') question = { id: `q${count++}`, askedAt: now };
        if (decision.do !== 'take') continue;
        taken++;
        expect(notReadySince).not.toBeUndefined();
        expect(now - leadingSince).toBeGreaterThanOrEqual(SETTLE_MS);
        const asked = question?.askedAt ?? Number.NaN;
        expect(now - asked).toBeLessThanOrEqual(FRESH_MS);
        for (const [target, each] of seen.entries()) {
          if (each?.question !== question?.id) {
            expect(decision.volumes, 'no volume of a target that has not answered').not.toContain(`v${target + 1}`);
            continue;
          }
          // Heard since it answered, or longer ago than the time of each volume that is taken.
          const heardAt = lastHeard[target] ?? 0;
          const longest = Math.max(...after.filter((_, index) => decision.volumes.includes(`v${index + 1}`)));
          const wasHeard = heardAt <= asked && asked - heardAt < longest && now - heardAt < longest;
          expect(wasHeard).toBe(false);
        }
      }
    }),
    { numRuns: 300 },
  );
  expect(taken, 'the runs have takeovers').toBeGreaterThan(0);
});
