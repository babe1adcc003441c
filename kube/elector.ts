import { setTimeout as delay } from 'node:timers/promises';
import type { ResourceType } from '../api/resources.ts';
import { isConflict } from './errors.ts';
import type { Kube, KubeObject } from './kube.ts';

const LEASES: ResourceType = { group: 'coordination.k8s.io', version: 'v1', plural: 'leases', kind: 'Lease', namespaced: true };

interface Lease extends KubeObject {
  spec: {
    holderIdentity?: string;
    leaseDurationSeconds?: number;
    acquireTime?: string;
    renewTime?: string;
    leaseTransitions?: number;
  };
}

export interface ElectorOptions {
  readonly namespace: string;
  readonly name: string;
  /** Who we are: unique among those who want to lead. */
  readonly identity: string;
  /** For how long a leader that does not renew is believed to be there. */
  readonly leaseDurationMs?: number;
  /** For how long a leader tries to renew before it gives up. */
  readonly renewDeadlineMs?: number;
  readonly retryPeriodMs?: number;
  /** Told of errors that the elector survives. */
  readonly onError?: (error: unknown) => void;
}

/**
 * Leader election on a Lease, after client-go's leaderelection: others' clocks are not trusted; a Lease counts as held for its
 * duration after we saw it change. A leader that cannot renew stops leading before anybody else may begin.
 */
export class LeaseElector {
  readonly #kube: Pick<Kube, 'get' | 'create' | 'patch'>;
  readonly #options: Required<Omit<ElectorOptions, 'onError'>> & Pick<ElectorOptions, 'onError'>;
  #observed: { version: string; at: number } | undefined;

  /** @throws RangeError when the durations do not guarantee that a leader stops in time */
  constructor(kube: Pick<Kube, 'get' | 'create' | 'patch'>, options: ElectorOptions) {
    this.#options = { leaseDurationMs: 15_000, renewDeadlineMs: 10_000, retryPeriodMs: 2_000, ...options };
    const { leaseDurationMs, renewDeadlineMs, retryPeriodMs } = this.#options;
    if (leaseDurationMs <= renewDeadlineMs || renewDeadlineMs <= 1.2 * retryPeriodMs) {
      throw new RangeError('leader election needs leaseDuration > renewDeadline > 1.2 × retryPeriod');
    }
    this.#kube = kube;
  }

  /**
   * Waits until we lead, then runs `lead` with a signal that is aborted when we no longer do.
   * @throws Error when the lead was lost: the program is to exit, so that nothing of it goes on
   */
  async run(signal: AbortSignal, lead: (signal: AbortSignal) => Promise<void>): Promise<void> {
    while (!signal.aborted && !(await this.#try(signal))) await this.#pause(signal);
    if (signal.aborted) return;
    const leading = new AbortController();
    const stop = AbortSignal.any([signal, leading.signal]);
    const ended = new AbortController();
    const keeping = this.#keep(AbortSignal.any([signal, ended.signal])).then((lost) => {
      if (lost) leading.abort(lost);
      return lost;
    });
    try {
      await lead(stop);
    } finally {
      ended.abort();
    }
    const lost = await keeping;
    if (lost) throw lost;
    await this.#release();
  }

  /** Renews until the signal is aborted. @returns why the lead was lost */
  async #keep(signal: AbortSignal): Promise<Error | undefined> {
    let renewed = performance.now();
    while (!signal.aborted) {
      await this.#pause(signal);
      if (signal.aborted) return undefined;
      const left = this.#options.renewDeadlineMs - (performance.now() - renewed);
      const started = performance.now();
      if (left > 0 && (await this.#try(AbortSignal.any([signal, AbortSignal.timeout(left)])))) renewed = started;
      else if (!signal.aborted && performance.now() - renewed >= this.#options.renewDeadlineMs) {
        return new Error(`Lease ${this.#options.namespace}/${this.#options.name} could not be renewed: somebody else may lead now`);
      }
    }
    return undefined;
  }

  /** Takes or renews the Lease. @returns whether it is ours */
  async #try(signal: AbortSignal): Promise<boolean> {
    const { namespace, name, identity, leaseDurationMs } = this.#options;
    const now = new Date().toISOString().replace('Z', '000Z');
    const ours = { holderIdentity: identity, leaseDurationSeconds: Math.ceil(leaseDurationMs / 1000), renewTime: now };
    try {
      const lease = await this.#kube.get<Lease>(LEASES, name, { namespace, signal });
      if (!lease) {
        const fresh: Lease = { metadata: { name, namespace }, spec: { ...ours, acquireTime: now, leaseTransitions: 0 } };
        await this.#kube.create(LEASES, fresh, { namespace, signal });
        return true;
      }
      const { spec, metadata } = lease;
      const mine = spec.holderIdentity === identity;
      if (!mine && !this.#isFree(lease)) return false;
      const taking = mine ? {} : { acquireTime: now, leaseTransitions: (spec.leaseTransitions ?? 0) + 1 };
      await this.#kube.patch(
        LEASES,
        name,
        { metadata: { resourceVersion: metadata.resourceVersion }, spec: { ...ours, ...taking } },
        { namespace, signal },
      );
      return true;
    } catch (error) {
      if (!isConflict(error) && !signal.aborted) this.#options.onError?.(error);
      return false;
    }
  }

  #isFree({ metadata, spec }: Lease): boolean {
    if (!spec.holderIdentity) return true;
    const version = metadata.resourceVersion ?? '';
    if (this.#observed?.version !== version) this.#observed = { version, at: performance.now() };
    return performance.now() - this.#observed.at > (spec.leaseDurationSeconds ?? 0) * 1000;
  }

  /** Gives the Lease back, so that the next one need not wait. */
  async #release(): Promise<void> {
    const { namespace, name, identity } = this.#options;
    const signal = AbortSignal.timeout(2_000);
    try {
      const lease = await this.#kube.get<Lease>(LEASES, name, { namespace, signal });
      if (lease?.spec.holderIdentity !== identity) return;
      await this.#kube.patch(
        LEASES,
        name,
        { metadata: { resourceVersion: lease.metadata.resourceVersion }, spec: { holderIdentity: '', leaseDurationSeconds: 1 } },
        { namespace, signal },
      );
    } catch (error) {
      this.#options.onError?.(error);
    }
  }

  async #pause(signal: AbortSignal): Promise<void> {
    await delay(this.#options.retryPeriodMs * (0.8 + Math.random() * 0.4), undefined, { signal }).catch(() => {});
  }
}
