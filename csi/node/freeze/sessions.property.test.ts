import fc from 'fast-check';
import { FakeClock } from '../../../kube/testing/fake-clock.ts';
import { FakeFreezer, FakeKernel } from '../testing/fake-freezer.ts';
import { FreezeSessions } from './sessions.ts';

const DEVICE = '7:1';
const LIMIT_MS = 30_000;
const log = { debug: () => {}, info: () => {}, warn: () => {}, error: () => {} };
const { signal } = new AbortController();
const silent = (): void => {};

/** A plugin that is killed before or after its n-th step at kernel or disk: then none of its steps has any effect, or ends. */
class Life {
  readonly #freezer: FakeFreezer;
  readonly sessions: FreezeSessions;
  #stepsLeft: number;

  constructor(kernel: FakeKernel, steps: number, failures: ReadonlySet<number>, isSlow: boolean, clock: FakeClock) {
    this.#freezer = new FakeFreezer(kernel);
    this.#freezer.isSlow = isSlow;
    this.#stepsLeft = steps;
    let count = 0;
    this.#freezer.step = async () => {
      if (this.#stepsLeft-- <= 0) await new Promise(() => {});
      if (failures.has(count++)) throw new Error('failed');
    };
    this.sessions = new FreezeSessions({ freezer: this.#freezer, records: this.#freezer, limitMs: LIMIT_MS, clock: clock.machine(), log });
  }

  kill(): void {
    this.#stepsLeft = 0;
  }
}

const action = fc.oneof(
  fc.constantFrom('freeze', 'thaw', 'abandon', 'end', 'stop', 'complete', 'come to nothing' as const),
  fc.integer({ min: 1, max: 40_000 }),
);
const life = fc.record({
  steps: fc.integer({ min: 0, max: 40 }),
  failures: fc.uniqueArray(fc.integer({ min: 0, max: 30 }), { maxLength: 4 }),
  isSlow: fc.boolean(),
  actions: fc.array(action, { maxLength: 12 }),
});

test('whenever the plugin is killed, and whatever fails: after its next start and the limit nothing is frozen, and nothing is recorded', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(life, { minLength: 1, maxLength: 3 }), async (lives) => {
      const clock = new FakeClock();
      const kernel = new FakeKernel();
      const lies: string[] = [];
      let count = 0;
      for (const { steps, failures, isSlow, actions } of lives) {
        const plugin = new Life(kernel, steps, new Set(failures), isSlow, clock);
        const { sessions } = plugin;
        void sessions.recover(signal);
        await clock.pass(10);
        for (const each of actions) {
          if (typeof each === 'number') await clock.pass(each);
          else if (each === 'complete' || each === 'come to nothing') kernel.complete(each === 'complete');
          else if (each === 'freeze') void sessions.freeze('v1', `f${++count}`, DEVICE).catch(silent);
          else if (each === 'abandon') sessions.abandon(`f${count}`);
          else if (each === 'end') void sessions.end('v1', 'test', signal).catch(silent);
          else if (each === 'stop') void sessions.stop();
          else {
            const id = `f${count}`;
            const isFrozen = kernel.frozen.has(DEVICE);
            // Whoever is told that it was frozen throughout can rely on that.
            void sessions.thaw(id).then((why) => why === undefined && !isFrozen && lies.push(id));
          }
          await clock.pass(1);
        }
        plugin.kill();
      }
      const last = new Life(kernel, Number.POSITIVE_INFINITY, new Set(), false, clock);
      void last.sessions.recover(signal);
      await clock.pass(100);
      // What an earlier plugin has begun takes effect late.
      kernel.complete();
      await clock.pass(LIMIT_MS);
      expect([...kernel.frozen]).toEqual([]);
      expect([...kernel.records]).toEqual([]);
      expect(lies).toEqual([]);
      // And it can be frozen again.
      await last.sessions.freeze('v1', 'last', DEVICE);
      await clock.pass(LIMIT_MS + 1_000);
      expect(kernel.frozen.size + kernel.records.size).toBe(0);
    }),
    { numRuns: 300 },
  );
}, 60_000);
