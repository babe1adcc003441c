import assert from 'node:assert/strict';
import fc from 'fast-check';
import { CLUSTER_FAULTS, type Disturbance } from './cluster-faults.ts';
import { FAST_FAULTS, type FastDisturbance } from './fast-faults.ts';
import { describeStep, isSilence, NODES, type NodeName, plan, SILENCES, type Silence, STORAGE } from './plan.ts';
import { WEATHER } from './weather.ts';

const seeds = fc.integer({ min: 0, max: 2 ** 31 });
const planned = (seed: number, steps: number, first: NodeName = 'worker-1', only?: Disturbance['kind']) =>
  plan({ seed, steps, first, faults: CLUSTER_FAULTS, only });
const fast = (seed: number, steps: number, only?: FastDisturbance['kind'] | Silence['kind']) =>
  plan({ seed, steps, first: 'worker-1', faults: FAST_FAULTS, only });

const TRANSITIONS = ['move to', 'crash to', 'delete-node to', 'hang to', 'cut-off to'];
const drawn = (words: string, kinds: readonly string[]): void => {
  for (const kind of kinds) expect(words).toMatch(new RegExp(kind));
};

describe('plan()', () => {
  it('is the same for the same seed, and begins the same when it is longer', () => {
    fc.assert(
      fc.property(seeds, fc.integer({ min: 1, max: 50 }), (seed, steps) => {
        expect(planned(seed, steps)).toStrictEqual(planned(seed, steps + 10).slice(0, steps));
      }),
    );
  });

  it('differs between seeds', () => {
    expect(planned(1, 20)).not.toStrictEqual(planned(2, 20));
  });

  it('never stays where it is, never loses the node that has the data, and leaves a lost node alone', () => {
    fc.assert(
      fc.property(seeds, fc.constantFrom(...NODES), (seed, first) => {
        let holder: string = first;
        for (const { transition, disturbance } of planned(seed, 60, first)) {
          assert.ok(transition || disturbance);
          const lost = transition && transition.kind !== 'move' ? holder : undefined;
          expect(lost).not.toBe(STORAGE);
          expect(transition?.to).not.toBe(holder);
          if (disturbance && 'node' in disturbance.what) expect(disturbance.what.node).not.toBe(lost);
          if (disturbance?.what.kind === 'storage-crash') expect(!transition && holder !== STORAGE).toBe(true);
          holder = transition?.to ?? holder;
        }
      }),
    );
  });

  it('lets any node but the one that has the data be silent, and long enough that another fault comes at any moment of it', () => {
    let silences = 0;
    let last = 0;
    fc.assert(
      fc.property(seeds, (seed) => {
        let holder: string = 'worker-1';
        for (const { transition, disturbance } of fast(seed, 200)) {
          if (isSilence(transition)) {
            silences++;
            last = Math.max(last, disturbance?.after ?? 0);
            expect(holder).not.toBe(STORAGE);
            expect(transition.to).not.toBe(holder);
          }
          holder = transition?.to ?? holder;
        }
      }),
    );
    expect(silences).toBeGreaterThan(100);
    expect(last).toBeGreaterThan(20);
  });

  it('has no silences on the cluster, where nothing takes over by itself', () => {
    for (const { transition } of planned(7, 2_000)) expect(isSilence(transition)).toBe(false);
  });

  it('draws one kind of silence when asked for, and moves between them from the node that has the data', () => {
    const kinds = fast(3, 30, 'wakes').map(({ transition }) => transition?.kind);
    expect(kinds.filter((kind) => kind === 'wakes').length).toBeGreaterThan(10);
    for (const kind of ['silent', 'kubelet-silent']) expect(kinds).not.toContain(kind);
  });

  it('draws nothing but what is asked for', () => {
    for (const { disturbance, transition } of planned(1, 50, 'worker-1', 'storage-crash')) {
      expect(disturbance?.what.kind).toBe('storage-crash');
      expect(transition).toBeUndefined();
    }
  });

  it('draws every fault of the cluster before long', () => {
    drawn(planned(7, 400).map(describeStep).join('\n'), [
      ...TRANSITIONS,
      ...['kill target', 'kill agent', 'kill controller', 'kill node', 'storage-link-down', 'management-link-down'],
      ...['loss', 'delay', 'duplicate', 'reorder', 'api-server-away', 'clock-jump', 'storage-crash', 'both-links-down'],
    ]);
  });

  it('draws every fault of the lab of processes before long', () => {
    const parts = ['target', 'agent', 'controller', 'operator'];
    const steps = fast(7, 2_000);
    drawn(steps.map(describeStep).join('\n'), [
      ...TRANSITIONS,
      ...parts.flatMap((part) => [`kill ${part}`, `stop ${part}`]),
      ...['stop api-server', 'stop etcd', 'api-server-restart', 'cut for', 'silent for', 'refusing for', 'link-down'],
      ...Object.keys(WEATHER),
    ]);
    const transitions = new Set(steps.map(({ transition }) => transition?.kind));
    for (const kind of SILENCES) expect(transitions).toContain(kind);
    for (const { disturbance } of fast(7, 50, 'kill')) expect(disturbance?.what.kind).toBe('kill');
  });
});
