import fc from 'fast-check';
import type { ConfigReply } from '../initiator.ts';
import { ModelTarget } from '../testing/model-target.ts';
import { random } from '../testing/random.ts';
import { acquireSteps, type LockRequest, releaseSteps } from './lock.ts';
import { escapeString, formatLock, type LockOwner, parseLock } from './text.ts';

const owner = (node: string): LockOwner => ({ node, nodeUID: `uid-of-${node}`, volumeUID: 'v-1' });

interface Network {
  /** Chance that a frame is lost, and that it arrives twice. */
  loss: number;
  duplication: number;
  /** A query is answered by all targets or counts as unanswered. */
  complete?: boolean;
  /** Frames stay in the network as long as the scheduler likes, past the end of their exchange, and overtake each other. */
  delay: boolean;
}

interface Copy {
  host: Host;
  exchange: number;
  target: ModelTarget;
  request: LockRequest;
  reply?: ConfigReply;
}

class Host {
  readonly owner: LockOwner;
  steps: Generator<LockRequest, { outcome: string }, readonly ConfigReply[]> | undefined;
  request: LockRequest | undefined;
  exchange = 0;
  replies: ConfigReply[] = [];
  sends = 0;
  task: 'acquire' | 'release' = 'release';
  /** It was told "held" and has not begun to release. */
  holds = false;
  outcomes: string[] = [];

  constructor(node: string) {
    this.owner = owner(node);
  }
}

/** Hosts that take and release one lock over a simulated network, in an order drawn from a seed. */
class Simulation {
  readonly #random: () => number;
  readonly #network: Network;
  readonly hosts: Host[];
  readonly targets: ModelTarget[];
  #flying: Copy[] = [];
  #since = 0;

  constructor(seed: number, network: Network, hosts: number, targets: ModelTarget[]) {
    this.#random = random(seed);
    this.#network = network;
    this.hosts = Array.from({ length: hosts }, (_, index) => new Host(`n${index}`));
    this.targets = targets;
  }

  run(steps: number): void {
    for (let step = 0; step < steps; step++) {
      const host = this.#pick(this.hosts);
      if (!host.steps) this.#begin(host);
      else this.#act(host);
      const holders = this.hosts.filter((each) => each.holds);
      // Checked so often that expect() would take most of the time.
      if (holders.length > 1) throw new Error(`two holders: ${holders.map((each) => each.owner.node).join(', ')}`);
      for (const { owner } of holders) {
        for (const { string } of this.targets)
          if (parseLock(string)?.node !== owner.node) throw new Error(`${owner.node} holds the lock, a target has ${escapeString(string)}`);
      }
    }
  }

  #pick<T>(list: readonly T[]): T {
    return list[Math.floor(this.#random() * list.length)] as T;
  }

  #begin(host: Host): void {
    // A host that holds works for a while; one that does not may also release: its unstage is repeated after a time-out.
    if (host.holds && this.#random() < 0.7) return;
    host.task = host.holds || this.#random() < 0.3 ? 'release' : 'acquire';
    host.holds = false;
    const since = new Date(this.#since++).toISOString();
    host.steps = host.task === 'acquire' ? acquireSteps(host.owner, since) : releaseSteps(host.owner);
    this.#advance(host, host.steps.next());
  }

  #advance(host: Host, step: IteratorResult<LockRequest, { outcome: string }>): void {
    host.exchange++;
    host.replies = [];
    host.sends = 0;
    if (!step.done) {
      host.request = step.value;
      return;
    }
    host.steps = undefined;
    host.outcomes.push(`${host.task} ${step.value.outcome}`);
    if (step.value.outcome === 'held') host.holds = true;
  }

  #act(host: Host): void {
    const { request } = host;
    if (!request || !host.steps) return;
    const asked = this.targets.filter((target) => request.kind === 'query' || request.to.mac === target.mac);
    const limit = request.kind === 'force' ? 1 : 6;
    const complete = host.replies.length === asked.length;
    if (complete || (host.sends >= limit && this.#random() < 0.2)) {
      this.#advance(host, host.steps.next(complete || !this.#network.complete ? host.replies : []));
      return;
    }
    if (host.sends < limit && this.#random() < 0.4) {
      host.sends++;
      for (const target of asked) this.#send({ host, exchange: host.exchange, target, request });
    }
    if (!this.#network.delay) while (this.#flying.length > 0) this.#deliver(0);
    else if (this.#flying.length > 0) this.#deliver(Math.floor(this.#random() * this.#flying.length));
  }

  #send(copy: Copy): void {
    if (this.#random() < this.#network.loss) return;
    this.#flying.push(copy);
    if (this.#random() < this.#network.duplication) this.#flying.push({ ...copy });
  }

  #deliver(index: number): void {
    const [copy] = this.#flying.splice(index, 1);
    if (!copy) return;
    const { host, target, request, reply } = copy;
    if (!reply) {
      const error = target.change(request);
      const answer = {
        interfaceName: 'i',
        mac: target.mac,
        shelf: 1,
        slot: 1,
        error,
        string: target.string,
        bufferCount: 1,
        firmware: 1,
        sectors: 2,
      };
      this.#send({ ...copy, reply: answer });
    } else if (copy.exchange === host.exchange && !host.replies.some((each) => each.mac === reply.mac)) {
      host.replies.push(reply);
    }
  }
}

const seeds = fc.integer({ min: 0, max: 2 ** 31 });
const chaos: Network = { loss: 0.2, duplication: 0.3, delay: true };

test('no two hosts hold a lock at once, whatever the network loses, repeats and delays', () => {
  let held = 0;
  let refused = 0;
  fc.assert(
    fc.property(seeds, (seed) => {
      const simulation = new Simulation(seed, chaos, 3, [new ModelTarget('02:00:00:00:00:01')]);
      simulation.run(400);
      const outcomes = simulation.hosts.flatMap((host) => host.outcomes);
      held += outcomes.filter((each) => each === 'acquire held').length;
      refused += outcomes.filter((each) => each === 'acquire occupied').length;
    }),
    { numRuns: 1000 },
  );
  expect(held, `schedules must reach both outcomes: ${held} held, ${refused} refused`).toBeGreaterThan(1000);
  expect(refused, `schedules must reach both outcomes: ${held} held, ${refused} refused`).toBeGreaterThan(1000);
});

test('no two hosts hold a lock at once on several targets behind one address, when each is heard', () => {
  fc.assert(
    fc.property(seeds, (seed) => {
      const network = { loss: 0.1, duplication: 0.3, delay: true, complete: true };
      new Simulation(seed, network, 3, [new ModelTarget('02:00:00:00:00:01'), new ModelTarget('02:00:00:00:00:02')]).run(300);
    }),
    { numRuns: 300 },
  );
});

test('a target without compare-and-set is safe while the network does not delay frames past their exchange', () => {
  fc.assert(
    fc.property(seeds, (seed) => {
      const target = new ModelTarget('02:00:00:00:00:01', { testAndReplace: false });
      new Simulation(seed, { loss: 0.3, duplication: 0.3, delay: false }, 3, [target]).run(400);
    }),
    { numRuns: 300 },
  );
});

test('lost and repeated frames never turn into a conflict for the only host', () => {
  fc.assert(
    fc.property(seeds, (seed) => {
      const simulation = new Simulation(seed, { loss: 0.4, duplication: 0.3, delay: true }, 1, [new ModelTarget('02:00:00:00:00:01')]);
      simulation.run(300);
      for (const outcome of simulation.hosts[0]?.outcomes ?? []) expect(outcome).not.toMatch(/occupied|refused/);
    }),
    { numRuns: 300 },
  );
});

test('a simulation without the comparison of the returned string would find the conflict', () => {
  // The test of the test: error 4 on a repetition of one's own request is what the schedules must contain.
  const target = new ModelTarget('02:00:00:00:00:01');
  const next = formatLock({ ...owner('n0'), since: '2026-01-01T00:00:00Z' });
  const request: LockRequest = { kind: 'setIfEmpty', to: { interfaceName: 'i', mac: target.mac }, next };
  expect(target.change(request)).toBe(0);
  expect(target.change(request)).toBe(4);
});

/** Runs steps against one target with no network between. */
function direct<R>(steps: Generator<LockRequest, R, readonly ConfigReply[]>, target: ModelTarget): R {
  let step = steps.next();
  while (!step.done) {
    const error = target.change(step.value);
    step = steps.next([
      { interfaceName: 'i', mac: target.mac, shelf: 1, slot: 1, error, string: target.string, bufferCount: 1, firmware: 1, sectors: 2 },
    ]);
  }
  return step.value;
}

test('a string that is not ours is respected and shown escaped', () => {
  const target = new ModelTarget('02:00:00:00:00:01');
  target.string = Buffer.from('net.corvus.apple S\xff\n', 'latin1');
  const result = direct(acquireSteps(owner('n0'), '2026-01-01T00:00:00Z'), target);
  expect(result).toStrictEqual({ outcome: 'occupied', holder: { lock: undefined, raw: 'net.corvus.apple S\\xff\\x0a' } });
  expect(direct(releaseSteps(owner('n0')), target)).toStrictEqual({ outcome: 'released' });
  expect(escapeString(target.string)).toBe('net.corvus.apple S\\xff\\x0a');
});

test("another node's lock is named with its time", () => {
  const target = new ModelTarget('02:00:00:00:00:01');
  direct(acquireSteps(owner('n0'), '2026-01-01T00:00:00Z'), target);
  const result = direct(acquireSteps(owner('n1'), '2026-01-02T00:00:00Z'), target);
  expect(result.outcome === 'occupied' && result.holder.lock?.node).toBe('n0');
  expect(result.outcome === 'occupied' && result.holder.lock?.since).toBe('2026-01-01T00:00:00Z');
});

test('the same node takes its own lock again, with a new time', () => {
  const target = new ModelTarget('02:00:00:00:00:01');
  direct(acquireSteps(owner('n0'), '2026-01-01T00:00:00Z'), target);
  expect(direct(acquireSteps(owner('n0'), '2026-01-02T00:00:00Z'), target).outcome).toBe('held');
  expect(parseLock(target.string)?.since).toBe('2026-01-02T00:00:00Z');
  expect(direct(releaseSteps(owner('n0')), target).outcome).toBe('released');
  expect(target.string.length).toBe(0);
});

test('a re-created node with the same name does not own the old lock', () => {
  const target = new ModelTarget('02:00:00:00:00:01');
  direct(acquireSteps(owner('n0'), '2026-01-01T00:00:00Z'), target);
  expect(direct(acquireSteps({ ...owner('n0'), nodeUID: 'new' }, '2026-01-02T00:00:00Z'), target).outcome).toBe('occupied');
});

test('formatLock() and parseLock() are inverse, and parseLock() takes nothing else', () => {
  const word = fc.stringMatching(/^[a-z0-9.-]{1,60}$/);
  fc.assert(
    fc.property(
      word,
      word,
      word,
      fc.date({ noInvalidDate: true, min: new Date(0), max: new Date('9999-12-31') }),
      (node, nodeUID, volumeUID, date) => {
        const lock = { node, nodeUID, volumeUID, since: date.toISOString() };
        expect(parseLock(formatLock(lock))).toStrictEqual(lock);
      },
    ),
  );
  fc.assert(fc.property(fc.uint8Array({ maxLength: 1100 }), (bytes) => parseLock(bytes) === undefined));
  const good = Buffer.from(formatLock({ ...owner('n'), since: '2026-01-01T00:00:00Z' }));
  for (const bad of [
    good.subarray(0, 40),
    Buffer.concat([good, Buffer.from('\n')]),
    Buffer.concat([good, Buffer.from([0xff])]),
    Buffer.concat([good, good]),
  ]) {
    expect(parseLock(bad)).toBeUndefined();
  }
  expect(() => formatLock({ ...owner('n n'), since: '2026-01-01T00:00:00Z' })).toThrow(RangeError);
  expect(() => formatLock({ ...owner('n'.repeat(1024)), since: '2026-01-01T00:00:00Z' })).toThrow(RangeError);
});
