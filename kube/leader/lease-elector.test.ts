import fc from 'fast-check';
import { LeaseLostError } from '../client/error.ts';
import { LEASES } from '../client/types.ts';
import { FakeApi, type Weather } from '../testing/fake-api.ts';
import { FakeClock } from '../testing/fake-clock.ts';
import type { Lease } from './lease.ts';
import { LeaseElector, type LeaseElectorOptions } from './lease-elector.ts';

/** A candidate on its own machine. */
class Candidate {
  readonly link;
  readonly machine;
  readonly stop = new AbortController();
  leading = false;
  error: unknown;
  ended = false;

  constructor(
    api: FakeApi,
    clock: FakeClock,
    identity: string,
    { offset = 0, rate = 1, lead = until }: { offset?: number; rate?: number; lead?: (signal: AbortSignal) => Promise<void> } = {},
  ) {
    this.link = api.link();
    this.machine = clock.machine(offset, rate);
    const options: LeaseElectorOptions = {
      namespace: 'ns',
      name: 'lease',
      identity,
      clock: this.machine,
      random: () => 0.5,
    };
    const elector = new LeaseElector(this.link, options);
    elector
      .run(this.stop.signal, async (signal) => {
        this.leading = true;
        signal.addEventListener('abort', () => {
          this.leading = false;
        });
        await lead(signal);
        this.leading = false;
      })
      .catch((error: unknown) => {
        this.error = error;
      })
      .finally(() => {
        this.ended = true;
      });
  }

  /** Its next request is answered, and the process is stopped before it reads the answer. */
  halt(): void {
    this.link.weather = 'answer held';
    this.machine.isStopped = true;
  }

  /** The process goes on. As in Node.js, it reads what has come before its timers fire. */
  resume(): void {
    this.link.weather = 'fine';
    this.machine.isStopped = false;
    this.link.release();
  }
}

/** Leads until told to stop. */
const until = (signal: AbortSignal): Promise<void> =>
  new Promise((resolve) => signal.addEventListener('abort', () => resolve(), { once: true }));
const leaseOf = (api: FakeApi): Lease | undefined => api.read(LEASES, 'lease') as Lease | undefined;

function world() {
  const [api, clock] = [new FakeApi(), new FakeClock()];
  return { api, clock, candidate: (identity: string, options = {}) => new Candidate(api, clock, identity, options) };
}

test('the first candidate leads, and renews its lease with one request each time', async () => {
  const { api, clock, candidate } = world();
  const a = candidate('a');
  await clock.pass(100);
  expect(a.leading).toBe(true);
  const first = leaseOf(api);
  expect(first?.spec?.holderIdentity).toBe('a');
  expect(first?.spec?.leaseDurationSeconds).toBe(15);
  expect(first?.spec?.leaseTransitions).toBe(0);
  const calls = a.link.calls;
  await clock.pass(20_000);
  expect(a.link.calls - calls).toBe(10);
  expect(leaseOf(api)?.spec?.acquireTime).toBe(first?.spec?.acquireTime);
  expect(a.leading).toBe(true);
});

test('another candidate waits while the lease is renewed, whatever its own clock says', async () => {
  const { clock, candidate } = world();
  const a = candidate('a');
  await clock.pass(100);
  const b = candidate('b', { offset: 1e12 });
  await clock.pass(600_000);
  expect(a.leading).toBe(true);
  expect(b.leading).toBe(false);
});

test('when the leader dies, another leads once the lease has run out since it last saw a change', async () => {
  const { api, clock, candidate } = world();
  const a = candidate('a');
  await clock.pass(100);
  const b = candidate('b');
  await clock.pass(10_000);
  a.link.weather = 'refused';
  await clock.pass(12_000);
  expect(b.leading).toBe(false);
  await clock.pass(8_000);
  expect(b.leading).toBe(true);
  expect(leaseOf(api)?.spec?.leaseTransitions).toBe(1);
});

for (const weather of ['refused', 'silent', 'answer lost'] satisfies Weather[]) {
  test(`a leader whose API server is ${weather} stops before anybody else may lead`, async () => {
    const { clock, candidate } = world();
    const a = candidate('a');
    await clock.pass(100);
    a.link.weather = weather;
    await clock.pass(9_000);
    expect(a.leading).toBe(true);
    await clock.pass(3_000);
    expect(a.leading).toBe(false);
    expect(a.error, String(a.error)).toBeInstanceOf(LeaseLostError);
  });
}

test('a leader that is stopped while its renewal is answered leads no longer when it goes on', async () => {
  const { clock, candidate } = world();
  const a = candidate('a');
  await clock.pass(100);
  const b = candidate('b');
  a.link.weather = 'answer held';
  await clock.pass(2_000);
  a.halt();
  await clock.pass(60_000);
  expect(b.leading).toBe(true);
  a.resume();
  await clock.pass(0);
  expect(a.leading).toBe(false);
  expect(a.error, String(a.error)).toBeInstanceOf(LeaseLostError);
  expect(b.leading).toBe(true);
});

test('a candidate that is stopped while it gets the lease does not lead when it goes on', async () => {
  const { clock, candidate } = world();
  const a = candidate('a');
  a.halt();
  await clock.pass(1_000);
  const b = candidate('b');
  await clock.pass(60_000);
  expect(b.leading).toBe(true);
  a.resume();
  await clock.pass(60_000);
  expect(a.leading).toBe(false);
  expect(b.leading).toBe(true);
  expect(a.ended).toBe(false);
});

test('a leader whose last renewal was read late stops when the time of that is over, not at its next attempt', async () => {
  const { clock, candidate } = world();
  const a = candidate('a');
  await clock.pass(100);
  a.link.weather = 'answer held';
  await clock.pass(2_000);
  a.halt();
  await clock.pass(9_000);
  a.resume();
  a.link.weather = 'refused';
  await clock.pass(800);
  expect(a.leading).toBe(true);
  await clock.pass(200);
  expect(a.leading).toBe(false);
});

test('one connection that hangs does not cost the lead', async () => {
  const { clock, candidate } = world();
  const a = candidate('a');
  await clock.pass(100);
  a.link.weather = 'silent';
  await clock.pass(6_000);
  a.link.weather = 'fine';
  await clock.pass(60_000);
  expect(a.leading).toBe(true);
});

test('a leader that somebody has taken the lease from stops at its next renewal', async () => {
  const { api, clock, candidate } = world();
  const a = candidate('a');
  await clock.pass(100);
  await api.patch(LEASES, 'lease', { spec: { holderIdentity: 'thief', leaseDurationSeconds: 15, renewTime: 'x' } } as object);
  await clock.pass(2_100);
  expect(a.leading).toBe(false);
  expect(String(a.error)).toMatch(/was taken by thief/);
});

test('a change of the lease by others that leaves us the holder is no loss', async () => {
  const { api, clock, candidate } = world();
  const a = candidate('a');
  await clock.pass(100);
  await api.patch(LEASES, 'lease', { metadata: { name: 'lease', labels: { touched: 'yes' } } });
  await clock.pass(30_000);
  expect(a.leading).toBe(true);
});

test('a leader that is told to stop keeps the lease until its work has ended, then gives it away at once', async () => {
  const { api, clock, candidate } = world();
  const work = Promise.withResolvers<void>();
  const a = candidate('a', { lead: () => work.promise });
  await clock.pass(100);
  const b = candidate('b');
  await clock.pass(100);
  a.stop.abort();
  await clock.pass(30_000);
  expect(a.ended).toBe(false);
  expect(leaseOf(api)?.spec?.holderIdentity).toBe('a');
  work.resolve();
  await clock.pass(2_500);
  expect(a.ended).toBe(true);
  expect(a.error).toBeUndefined();
  expect(b.leading).toBe(true);
});

test('an error of the work gives the lease away and is passed on', async () => {
  const { api, clock, candidate } = world();
  const a = candidate('a', { lead: () => Promise.reject(new Error('broken')) });
  await clock.pass(100);
  expect(String(a.error)).toMatch(/broken/);
  expect(leaseOf(api)?.spec?.holderIdentity).toBeFalsy();
});

test('a candidate that is told to stop before it leads ends, and takes nothing', async () => {
  const { api, clock, candidate } = world();
  candidate('a');
  await clock.pass(100);
  const b = candidate('b');
  await clock.pass(5_000);
  b.stop.abort();
  await clock.pass(0);
  expect(b.ended).toBe(true);
  expect(leaseOf(api)?.spec?.holderIdentity).toBe('a');
});

test('durations that do not leave a leader the time to stop are refused', () => {
  const link = new FakeApi().link();
  const make = (options: Partial<LeaseElectorOptions>) => () =>
    new LeaseElector(link, { namespace: 'n', name: 'l', identity: 'a', ...options });
  expect(make({ leaseDurationMs: 10_000 })).toThrow(/more than renewDeadlineMs/);
  expect(make({ renewDeadlineMs: 2_400 })).toThrow(/retryPeriodMs/);
  expect(make({ leaseDurationMs: 15_500 })).toThrow(/whole seconds/);
  expect(make({ identity: '' })).toThrow(/identity/);
});

test('never do two lead at once, whatever becomes of the links, as long as clocks run within 10 % of each other', async () => {
  const weather = fc.constantFrom<Weather>('fine', 'fine', 'refused', 'silent', 'answer lost', 'answer held');
  const step = fc.record({
    who: fc.nat(2),
    weather,
    ms: fc.integer({ min: 100, max: 9_000 }),
    stop: fc.nat(20),
    /** How long the process is stopped after that. */
    haltMs: fc.constantFrom(0, 0, 7_000, 20_000),
  });
  const rates = fc.array(fc.double({ min: 0.95, max: 1.05, noNaN: true }), { minLength: 3, maxLength: 3 });
  await fc.assert(
    fc.asyncProperty(rates, fc.array(step, { minLength: 5, maxLength: 25 }), async (speeds, steps) => {
      const { clock, candidate } = world();
      const candidates = speeds.map((rate, i) => candidate(`c${i}`, { rate, offset: i * 1e6 }));
      const pass = async (ms: number): Promise<void> => {
        for (let left = ms; left >= 0; left -= 500) {
          await clock.pass(Math.min(500, left));
          // One that is stopped does nothing.
          const leaders = candidates.filter(({ leading, machine }) => leading && !machine.isStopped);
          expect(leaders.length, 'two lead').toBeLessThanOrEqual(1);
        }
      };
      for (const { who, weather: next, ms, stop, haltMs } of steps) {
        const chosen = candidates[who] as Candidate;
        chosen.link.weather = next;
        if (stop === 0) chosen.stop.abort();
        await pass(ms);
        if (haltMs === 0) continue;
        chosen.halt();
        await pass(haltMs);
        chosen.resume();
        await pass(0);
      }
      for (const each of candidates) each.stop.abort();
    }),
    { numRuns: 25 },
  );
});
