import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { describeStep, NODES, plan, STORAGE } from './plan.ts';

const seeds = fc.integer({ min: 0, max: 2 ** 31 });

describe('plan()', () => {
  it('is the same for the same seed, and begins the same when it is longer', () => {
    fc.assert(
      fc.property(seeds, fc.integer({ min: 1, max: 50 }), (seed, steps) => {
        assert.deepEqual(plan(seed, steps, 'worker-1'), plan(seed, steps + 10, 'worker-1').slice(0, steps));
      }),
    );
  });

  it('differs between seeds', () => {
    assert.notDeepEqual(plan(1, 20, 'worker-1'), plan(2, 20, 'worker-1'));
  });

  it('never stays where it is, never loses the node that has the data, and leaves a lost node alone', () => {
    fc.assert(
      fc.property(seeds, fc.constantFrom(...NODES), (seed, first) => {
        let holder: string = first;
        for (const { transition, disturbance } of plan(seed, 60, first)) {
          assert.ok(transition || disturbance);
          const lost = transition && transition.kind !== 'move' ? holder : undefined;
          assert.notEqual(lost, STORAGE);
          assert.notEqual(transition?.to, holder);
          if (disturbance && 'node' in disturbance.what) assert.notEqual(disturbance.what.node, lost);
          if (disturbance?.what.kind === 'storage-crash') assert.ok(!transition && holder !== STORAGE);
          holder = transition?.to ?? holder;
        }
      }),
    );
  });

  it('draws nothing but what is asked for', () => {
    for (const { disturbance, transition } of plan(1, 50, 'worker-1', 'storage-crash')) {
      assert.equal(disturbance?.what.kind, 'storage-crash');
      assert.equal(transition, undefined);
    }
  });

  it('draws every fault before long', () => {
    const words = plan(7, 400, 'worker-1').map(describeStep).join('\n');
    for (const kind of ['kill target', 'kill agent', 'kill controller', 'kill node', 'storage-link-down', 'management-link-down'])
      assert.match(words, new RegExp(kind));
    for (const kind of [
      'loss',
      'delay',
      'duplicate',
      'reorder',
      'api-server-away',
      'clock-jump',
      'storage-crash',
      'move to',
      'crash to',
      'delete-node to',
      'hang to',
      'cut-off to',
      'both-links-down',
    ])
      assert.match(words, new RegExp(kind));
  });
});
