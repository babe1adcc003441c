import fc from 'fast-check';
import { parseLock } from '../../aoe/mod.ts';
import { random } from '../../aoe/testing/random.ts';
import type { AoEVolume } from '../../api/volume.ts';
import type { Store } from '../../kube/mod.ts';
import type { TargetVolumeState } from '../target/api.ts';
import { harness, MAC, UID } from '../testing/volume-harness.ts';
import type { VolumeReconciler } from './reconciler.ts';

type Harness = Awaited<ReturnType<typeof harness>>;
const HOSTS = { worker: MAC.worker, other: MAC.other } as const;
type Host = keyof typeof HOSTS;

/** The watch of one life of the agent: its first list may be old, then it is as late as it likes, though never goes back. */
class LateStore implements Store<AoEVolume> {
  readonly #history: () => readonly AoEVolume[];
  readonly #random: () => number;
  #at: number;

  constructor(history: () => readonly AoEVolume[], draw: () => number) {
    this.#history = history;
    this.#random = draw;
    this.#at = Math.max(0, history().length - 1 - Math.floor(draw() * 4));
  }

  get(): AoEVolume | undefined {
    const newest = this.#history().length - 1;
    if (this.#random() < 0.7) this.#at += Math.floor(this.#random() * (newest - this.#at + 1));
    return structuredClone(this.#history()[this.#at]);
  }

  list(): AoEVolume[] {
    return [this.get()].filter((each) => each !== undefined);
  }

  catchUp(): void {
    this.#at = this.#history().length - 1;
  }
}

/** Controller, agent, target and two hosts that know nothing of each other, one step at a time in an order drawn from a seed. */
class World {
  readonly #it: Harness;
  readonly #random: () => number;
  readonly #history: AoEVolume[] = [];
  #store: LateStore;
  #agent: VolumeReconciler;
  /** Whom ControllerPublish has been answered for, and since then not ControllerUnpublish. */
  published: Host | undefined;
  #waiting: { kind: 'publish' | 'unpublish'; host: Host; generation: number } | undefined;
  #quiet = false;

  /** @param gullible the agent asks its watch, and not the API server, before it cuts somebody off */
  constructor(it: Harness, seed: number, { gullible = false } = {}) {
    this.#it = it;
    this.#random = random(seed);
    this.#note();
    this.#store = new LateStore(() => this.#history, this.#random);
    this.#agent = it.make(this.#store);
    if (gullible) Object.assign(it.kube, { get: async () => ({ ...this.#live, spec: this.#store.get()?.spec }) });
    this.#interleave();
  }

  /** Whatever the agent does may be preceded and followed by anything the others do. */
  #interleave(): void {
    const { kube, target } = this.#it;
    const around =
      <Args extends unknown[], R>(call: (...args: Args) => Promise<R>) =>
      async (...args: Args): Promise<R> => {
        this.#others();
        try {
          return await call(...args);
        } finally {
          this.#note();
          this.check();
          this.#others();
        }
      };
    Object.assign(kube, { get: around(kube.get), apply: around(kube.apply) });
    for (const name of ['export', 'setAccess', 'replaceConfigString'] as const) {
      Object.assign(target, { [name]: around((target[name] as (...args: unknown[]) => Promise<TargetVolumeState>).bind(target)) });
    }
  }

  #others(): void {
    while (!this.#quiet && this.#random() < 0.5) {
      if (this.#random() < 0.5) this.#controller();
      else this.#host();
    }
  }

  get #live(): AoEVolume {
    return this.#it.volume();
  }

  #note(): void {
    const live = this.#live;
    if (this.#history.at(-1)?.metadata.resourceVersion !== live.metadata.resourceVersion) this.#history.push(live);
  }

  /** csi/controller/calls/publish.ts: one host at a time is written into the spec, and waited for. */
  #controller(): void {
    const { spec, status, metadata } = this.#live;
    if (this.#waiting) {
      const { kind, host, generation } = this.#waiting;
      const { observedGeneration = -1, nodes = [] } = status?.initiators ?? {};
      if (observedGeneration < generation || nodes.includes(host) !== (kind === 'publish')) return;
      this.#waiting = undefined;
      if (kind === 'publish') this.published = host;
      this.check();
      return;
    }
    const [present] = (spec.initiators.nodes ?? []) as Host[];
    const host = this.#pick();
    if (present) {
      // The old one may be dead, or only silent: nobody asks it.
      this.published = undefined;
      this.#it.spec({ initiators: {} });
    } else this.#it.spec({ initiators: { nodes: [host] } });
    this.#note();
    const generation = (metadata.generation ?? 0) + 1;
    this.#waiting = { kind: present ? 'unpublish' : 'publish', host: present ?? host, generation };
  }

  /** A host does what it likes; the target accepts a config string only from admitted hosts. */
  #host(): void {
    const host = this.#pick();
    const state = this.#it.target.volumes.get(UID);
    if (!state?.volume.macs.includes(HOSTS[host])) return;
    const holder = parseLock(state.configString)?.node;
    if (holder === undefined) this.#it.lock(host);
    else if (holder === host && this.#random() < 0.3) this.#it.target.setConfigString(UID, '');
  }

  #pick(): Host {
    return this.#random() < 0.5 ? 'worker' : 'other';
  }

  check(): void {
    const macs = this.#it.target.volumes.get(UID)?.volume.macs ?? [];
    expect(macs.length, `two hosts are admitted: ${macs.join(', ')}`).toBeLessThanOrEqual(1);
    const { published } = this;
    if (!published) return;
    expect(macs, 'a host that was published is the only one admitted until it is unpublished').toStrictEqual([HOSTS[published]]);
  }

  async step(): Promise<void> {
    this.#others();
    this.check();
    if (this.#random() < 0.1) {
      this.#store = new LateStore(() => this.#history, this.#random);
      this.#agent = this.#it.make(this.#store);
    }
    // A conflict of writes is tried again, as the work queue does.
    await this.#it.reconcile(this.#agent).catch((error: unknown) => expect(String(error)).toMatch(/Conflict|modified|changed/));
    this.check();
  }

  /** Without any further change all that was asked for comes true, and no lock of a host that is out is left. */
  async settle(): Promise<void> {
    this.#quiet = true;
    for (let i = 0; i < 6; i++) {
      this.#note();
      this.#store.catchUp();
      await this.#it.tick();
      await this.#it.reconcile(this.#agent);
    }
    const { spec, status, metadata } = this.#live;
    const [host] = (spec.initiators.nodes ?? []) as Host[];
    expect(this.#it.target.volumes.get(UID)?.volume.macs).toStrictEqual(host ? [HOSTS[host]] : []);
    expect(status?.initiators?.nodes ?? []).toStrictEqual(host ? [host] : []);
    expect(status?.initiators?.observedGeneration).toBe(metadata.generation);
    const holder = parseLock(this.#it.target.volumes.get(UID)?.configString ?? new Uint8Array())?.node;
    expect(holder === undefined || holder === host, `the lock of ${holder} is left, and ${host ?? 'no host'} is admitted`).toBe(true);
    expect(status?.holder?.node).toBe(holder);
  }
}

const seeds = fc.integer({ min: 0, max: 2 ** 31 });

test('one host at a time is admitted, however late the agent learns of it and whatever happens meanwhile', async () => {
  const told = new Map<string, number>();
  await fc.assert(
    fc.asyncProperty(seeds, async (seed) => {
      const it = await harness();
      const world = new World(it, seed);
      for (let i = 0; i < 40; i++) await world.step();
      await world.settle();
      for (const { reason } of it.kube.events) told.set(reason, (told.get(reason) ?? 0) + 1);
    }),
    { numRuns: 100 },
  );
  for (const reason of ['Fenced', 'LockCleared', 'LockTaken', 'LockReleased'])
    expect(told.get(reason) ?? 0, `schedules must have each of it in them: ${JSON.stringify([...told])}`).toBeGreaterThan(50);
});

test('the schedules find an agent that cuts off by an old view', async () => {
  const search = fc.check(
    fc.asyncProperty(seeds, async (seed) => {
      const world = new World(await harness(), seed, { gullible: true });
      for (let i = 0; i < 40; i++) await world.step();
    }),
    { numRuns: 500, endOnFailure: true },
  );
  expect(String((await search).errorInstance)).toMatch(/a host that was published is the only one admitted/);
});
