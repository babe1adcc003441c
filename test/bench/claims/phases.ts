import type { Kube } from '../../../kube/mod.ts';
import { CLAIMS, claim, PODS, pod } from './objects.ts';
import type { Arrivals, State, Timeline } from './timeline.ts';

/** What pods use: no volume, or a claim of this storage class. */
export interface Subject {
  readonly name: 'none' | 'nothing' | 'lvm' | 'file';
  readonly storageClass?: string;
}

/** Arrivals by state; times of creation count from the first object's creation, those of deletion from the first deletion. */
export type Times = Partial<Record<State, Arrivals>>;

export class Phases {
  readonly #kube: Kube;
  readonly #timeline: Timeline;
  readonly #namespace: string;
  readonly #nodes: readonly string[];
  #serial = 0;

  constructor(kube: Kube, timeline: Timeline, namespace: string, nodes: readonly string[]) {
    this.#kube = kube;
    this.#timeline = timeline;
    this.#namespace = namespace;
    this.#nodes = nodes;
  }

  /** n pods at once, each with a claim of its own when the subject has a storage class; then all are deleted at once. */
  async pods({ name, storageClass }: Subject, n: number): Promise<Times> {
    const names = this.#names(name, n);
    const states: State[] = storageClass ? ['claim bound', 'pod ready'] : ['pod ready'];
    const made = await this.#measure(states, names, async (each) => {
      if (storageClass) await this.#create(CLAIMS, claim(each, storageClass));
      await this.#create(PODS, pod(each, storageClass !== undefined));
    });
    const gone: State[] = storageClass ? ['pod gone', 'claim gone', 'volume gone'] : ['pod gone'];
    const removed = await this.#measure(this.#toExpect(gone, made), names, async (each) => {
      await this.#kube.delete(PODS, each, { namespace: this.#namespace });
      if (storageClass) await this.#kube.delete(CLAIMS, each, { namespace: this.#namespace });
    });
    return { ...made, ...removed };
  }

  /** n claims at once without pods, for nodes in turn; then all are deleted at once. */
  async claims({ name, storageClass }: Required<Subject>, n: number): Promise<Times> {
    const names = this.#names(name, n);
    const nodes = new Map(names.map((each, i) => [each, this.#nodes[i % this.#nodes.length]]));
    const made = await this.#measure(['claim bound'], names, (each) => this.#create(CLAIMS, claim(each, storageClass, nodes.get(each))));
    const removed = await this.#measure(this.#toExpect(['claim gone', 'volume gone'], made), names, (each) =>
      this.#kube.delete(CLAIMS, each, { namespace: this.#namespace }),
    );
    return { ...made, ...removed };
  }

  /** One pod, with a claim or without; pod and claim are deleted one after the other. */
  async one({ name, storageClass }: Subject): Promise<Times> {
    const names = this.#names(name, 1);
    const made = await this.#measure(storageClass ? ['claim bound', 'pod ready'] : ['pod ready'], names, async (each) => {
      if (storageClass) await this.#create(CLAIMS, claim(each, storageClass));
      await this.#create(PODS, pod(each, storageClass !== undefined));
    });
    const podGone = await this.#measure(['pod gone'], names, (each) => this.#kube.delete(PODS, each, { namespace: this.#namespace }));
    if (!storageClass) return { ...made, ...podGone };
    const gone = await this.#measure(this.#toExpect(['claim gone', 'volume gone'], made), names, (each) =>
      this.#kube.delete(CLAIMS, each, { namespace: this.#namespace }),
    );
    return { ...made, ...podGone, ...gone };
  }

  #names(subject: string, n: number): string[] {
    const serial = this.#serial++;
    return Array.from({ length: n }, (_, i) => `${subject}-${serial}-${i}`);
  }

  /** A claim that was never bound may have no volume that could go. */
  #toExpect(states: readonly State[], made: Times): State[] {
    const bound = made['claim bound'];
    return states.filter((state) => state !== 'volume gone' || (bound && bound.seconds.length === bound.of));
  }

  async #measure(states: readonly State[], names: readonly string[], act: (name: string) => Promise<unknown>): Promise<Times> {
    const started = performance.now();
    await Promise.all(names.map(act));
    const arrivals = await Promise.all(states.map(async (state) => [state, await this.#timeline.reached(state, names, started)]));
    return Object.fromEntries(arrivals);
  }

  #create(type: typeof CLAIMS, object: ReturnType<typeof claim>): Promise<unknown> {
    return this.#kube.create(type, object, { namespace: this.#namespace });
  }
}
