import { LeaseLostError, messageOf } from '../client/error.ts';
import type { Kube } from '../client/kube.ts';
import { LEASES, type Log, SILENT } from '../client/types.ts';
import { CLOCK, type Clock } from '../clock.ts';
import { isHeld, type Lease, type Limits, microTime, type Observed, sameClaim, writeClaim } from './lease.ts';

/** Each pause between attempts is longer by a random factor of up to this, so that candidates do not act in step. */
const JITTER = 1.2;

export interface LeaseElectorOptions {
  namespace: string;
  name: string;
  /** Different from that of every other candidate, also of an earlier process of this one: a pod's name, not a node's. */
  identity: string;
  /** Another candidate takes over when the leader has not renewed for this long. Whole seconds. */
  leaseDurationMs?: number | undefined;
  /** The leader gives up when it could not renew for this long. */
  renewDeadlineMs?: number | undefined;
  retryPeriodMs?: number | undefined;
  log?: Log | undefined;
  clock?: Clock | undefined;
  random?: (() => number) | undefined;
}

/** Leader election with a Lease, by the rules of client-go's leaderelection. Times are in milliseconds. */
export class LeaseElector {
  readonly #kube: Pick<Kube, 'get' | 'create' | 'patch'>;
  readonly #name: { namespace: string; name: string };
  readonly #identity: string;
  readonly #leaseMs: number;
  readonly #deadlineMs: number;
  readonly #retryMs: number;
  readonly #log: Log;
  readonly #clock: Clock;
  readonly #random: () => number;
  #observed: Observed | undefined;

  constructor(kube: Pick<Kube, 'get' | 'create' | 'patch'> & { readonly log?: Log }, options: LeaseElectorOptions) {
    const { namespace, name, identity, leaseDurationMs = 15_000, renewDeadlineMs = 10_000, retryPeriodMs = 2_000 } = options;
    if (leaseDurationMs <= renewDeadlineMs) throw new RangeError('leaseDurationMs must be more than renewDeadlineMs');
    if (renewDeadlineMs <= retryPeriodMs * JITTER) throw new RangeError(`renewDeadlineMs must be more than ${JITTER} × retryPeriodMs`);
    if (leaseDurationMs < 1000 || leaseDurationMs % 1000 !== 0) throw new RangeError('leaseDurationMs must be whole seconds');
    if (retryPeriodMs < 1) throw new RangeError('retryPeriodMs must be at least 1');
    if (identity === '') throw new RangeError('identity must not be empty');
    this.#kube = kube;
    this.#name = { namespace, name };
    this.#identity = identity;
    this.#leaseMs = leaseDurationMs;
    this.#deadlineMs = renewDeadlineMs;
    this.#retryMs = retryPeriodMs;
    this.#log = options.log ?? kube.log ?? SILENT;
    this.#clock = options.clock ?? CLOCK;
    this.#random = options.random ?? Math.random;
  }

  /**
   * Waits for the lease, then calls `lead`, and renews the lease until `lead` has ended; then releases it. When the signal is aborted,
   * so is the signal of `lead`, and the lease is kept until `lead` has ended.
   * @throws LeaseLostError at once when the lease is lost, after the signal of `lead` was aborted: end the program
   */
  async run(signal: AbortSignal, lead: (signal: AbortSignal) => Promise<void>): Promise<void> {
    const acquiredAt = await this.#acquire(signal);
    if (acquiredAt === undefined) return;
    this.#log.info({ lease: this.#name.name, identity: this.#identity }, 'leading');
    const leading = new AbortController();
    const onStop = (): void => leading.abort(signal.reason);
    signal.addEventListener('abort', onStop, { once: true });
    if (signal.aborted) onStop();
    const renewing = new AbortController();
    let loss: unknown;
    const lost = this.#renew(acquiredAt, renewing.signal).catch((error: unknown) => {
      loss = error;
      leading.abort(error);
      throw error;
    });
    const work = lead(leading.signal).catch((error: unknown) => {
      if (!(signal.aborted && leading.signal.aborted && error === signal.reason)) throw error;
    });
    try {
      await Promise.race([lost, work]);
    } catch (error) {
      work.catch(() => {});
      if (loss === undefined) await this.#release(renewing, lost);
      throw loss ?? error;
    } finally {
      signal.removeEventListener('abort', onStop);
    }
    // The work may have ended because the lease was lost.
    if (loss !== undefined) throw loss;
    await this.#release(renewing, lost);
  }

  /** @returns the time of our clock at which the request that won the lease was sent; undefined when stopped before */
  async #acquire(signal: AbortSignal): Promise<number | undefined> {
    let logged: string | undefined;
    while (!signal.aborted) {
      const started = this.#clock.now();
      try {
        if (await this.#try(this.#deadlineMs, signal)) {
          if (this.#leftMs(started) > 0) return started;
          this.#log.warn({ lease: this.#name.name }, 'lease acquired, but noticed too late: it may belong to another candidate by now');
          continue;
        }
        const holder = this.#observed?.lease.spec?.holderIdentity ?? '';
        if (holder !== logged) this.#log.info({ lease: this.#name.name, holder }, 'another candidate is the leader');
        logged = holder;
      } catch (error) {
        if (signal.aborted) break;
        this.#log.warn({ lease: this.#name.name, error: messageOf(error) }, 'lease not acquired');
      }
      const pause = this.#retryMs * (1 + this.#random() * (JITTER - 1));
      await this.#clock.sleep(pause, signal).catch(() => {});
    }
    return undefined;
  }

  /** Resolves when the signal is aborted; rejects when the lease is lost. */
  async #renew(acquiredAt: number, signal: AbortSignal): Promise<void> {
    let renewedAt = acquiredAt;
    let last: unknown;
    for (;;) {
      // The process may have been stopped since the renewal was sent: then its answer is old, and another candidate leads.
      const restMs = this.#leftMs(renewedAt);
      if (restMs <= 0) throw new LeaseLostError(this.#lost(last));
      const slept = await this.#clock.sleep(Math.min(this.#retryMs, restMs), signal).then(
        () => true,
        () => false,
      );
      if (!slept) return;
      const started = this.#clock.now();
      const leftMs = this.#leftMs(renewedAt);
      if (leftMs <= 0) throw new LeaseLostError(this.#lost(last));
      try {
        // A connection that hangs may take half of the time at most: a second attempt, on another one, can still save the lease.
        const limitMs = Math.min(leftMs, this.#deadlineMs / 2);
        // The limit of the request itself is a little shorter: when it passes, idle connections are closed, too.
        if (await this.#within(limitMs, signal, (limit) => this.#try(limitMs * 0.95, limit))) {
          renewedAt = started;
          continue;
        }
      } catch (error) {
        if (signal.aborted) return;
        last = error;
        this.#log.warn({ lease: this.#name.name, error: messageOf(error) }, 'lease not renewed');
        continue;
      }
      const holder = this.#observed?.lease.spec?.holderIdentity;
      if (holder && holder !== this.#identity) throw new LeaseLostError(`lease ${this.#name.name} was taken by ${holder}`);
    }
  }

  /** How long we may lead, in milliseconds, when the last claim that succeeded was sent at this time of our clock. */
  #leftMs(sentAt: number): number {
    return sentAt + this.#deadlineMs - this.#clock.now();
  }

  /** Rejects after the time, whatever the call does: a leader must know in time that it is no longer the leader. */
  async #within<R>(ms: number, signal: AbortSignal, call: (signal: AbortSignal) => Promise<R>): Promise<R> {
    const done = new AbortController();
    const onAbort = (): void => done.abort(signal.reason);
    signal.addEventListener('abort', onAbort, { once: true });
    const tooLate = this.#clock.sleep(ms, done.signal).then(() => {
      const error = new Error('no answer in time');
      done.abort(error);
      throw error;
    });
    tooLate.catch(() => {});
    const attempt = call(done.signal);
    attempt.catch(() => {});
    try {
      return await Promise.race([attempt, tooLate]);
    } finally {
      signal.removeEventListener('abort', onAbort);
      done.abort(new Error('over'));
    }
  }

  /** One attempt to acquire or renew the lease: true when it is ours now. */
  async #try(timeoutMs: number, signal: AbortSignal): Promise<boolean> {
    const { namespace, name } = this.#name;
    const limits = { signal, timeoutMs, urgent: true };
    // A leader knows what it wrote last, so renewing takes one request.
    const mine = this.#observed?.lease;
    if (mine?.spec?.holderIdentity === this.#identity && (await this.#claim(mine, limits))) return true;
    const lease = await this.#kube.get<Lease>(LEASES, name, { namespace, ...limits });
    this.#observe(lease);
    const observed = this.#observed;
    if (observed && observed.lease.spec?.holderIdentity !== this.#identity && isHeld(observed, this.#clock.now())) return false;
    return this.#claim(lease, limits);
  }

  async #claim(seen: Lease | undefined, limits: Limits): Promise<boolean> {
    const now = microTime(this.#clock.date());
    const ours = seen?.spec?.holderIdentity === this.#identity;
    const transitions = seen?.spec?.leaseTransitions ?? 0;
    const written = await writeClaim(
      this.#kube,
      this.#name,
      seen,
      {
        holderIdentity: this.#identity,
        leaseDurationSeconds: this.#leaseMs / 1000,
        acquireTime: ours ? (seen.spec?.acquireTime ?? now) : now,
        renewTime: now,
        leaseTransitions: seen && !ours ? transitions + 1 : transitions,
      },
      limits,
    );
    if (!written) return false;
    this.#observe(written);
    return true;
  }

  #observe(lease: Lease | undefined): void {
    if (!lease) this.#observed = undefined;
    else if (this.#observed && sameClaim(this.#observed.lease, lease)) this.#observed = { lease, at: this.#observed.at };
    else this.#observed = { lease, at: this.#clock.now() };
  }

  /** Frees the lease for the next candidate, once nothing of this process leads or renews any longer. */
  async #release(renewing: AbortController, lost: Promise<void>): Promise<void> {
    renewing.abort(new Error('over'));
    await lost.catch(() => {});
    const lease = this.#observed?.lease;
    if (lease?.spec?.holderIdentity !== this.#identity) return;
    const now = microTime(this.#clock.date());
    const spec = { holderIdentity: null, leaseDurationSeconds: 1, renewTime: now, acquireTime: now };
    try {
      await writeClaim(this.#kube, this.#name, lease, spec, { timeoutMs: this.#retryMs, urgent: true });
      this.#log.info({ lease: this.#name.name, identity: this.#identity }, 'lease released');
    } catch (error) {
      this.#log.warn({ lease: this.#name.name, error: messageOf(error) }, 'lease not released: other candidates wait until it expires');
    }
    this.#observed = undefined;
  }

  #lost(last: unknown): string {
    const cause = last === undefined ? '' : `: ${messageOf(last)}`;
    return `lease ${this.#name.name} could not be renewed for ${this.#deadlineMs / 1000} s${cause}`;
  }
}
