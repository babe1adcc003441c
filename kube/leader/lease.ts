import { isConflict, isNotFound } from '../client/error.ts';
import type { CallOptions, Kube } from '../client/kube.ts';
import { type KubeObject, LEASES } from '../client/types.ts';

/** `Lease` of coordination.k8s.io/v1. */
export interface Lease extends KubeObject {
  spec?: {
    holderIdentity?: string | null;
    leaseDurationSeconds?: number | null;
    acquireTime?: string | null;
    renewTime?: string | null;
    leaseTransitions?: number | null;
  };
}

export type Limits = Pick<CallOptions, 'signal' | 'timeoutMs' | 'urgent'>;

export interface LeaseName {
  namespace: string;
  name: string;
}

/** A Lease as this process last saw it. */
export interface Observed {
  lease: Lease;
  /** When its content last changed, by the clock of this machine: those of others may be wrong. */
  at: number;
}

/** Whether two reads show the same claim: nobody renewed or took the lease in between. */
export function sameClaim(a: Lease, b: Lease): boolean {
  return a.metadata.uid === b.metadata.uid && JSON.stringify(a.spec ?? {}) === JSON.stringify(b.spec ?? {});
}

/** Whether a candidate holds the lease at this time of our clock. */
export function isHeld({ lease: { spec }, at }: Observed, now: number): boolean {
  return Boolean(spec?.holderIdentity) && at + (spec?.leaseDurationSeconds ?? 0) * 1000 > now;
}

/**
 * Writes our claim over exactly the Lease that was seen.
 * @returns undefined when somebody else wrote first
 */
export async function writeClaim(
  kube: Pick<Kube, 'create' | 'patch'>,
  { namespace, name }: LeaseName,
  seen: Lease | undefined,
  spec: NonNullable<Lease['spec']>,
  limits: Limits,
): Promise<Lease | undefined> {
  try {
    if (!seen) return await kube.create<Lease>(LEASES, { metadata: { name, namespace }, spec }, { namespace, ...limits });
    const { uid, resourceVersion } = seen.metadata;
    return await kube.patch<Lease>(LEASES, name, { metadata: { uid, resourceVersion }, spec }, { namespace, ...limits });
  } catch (error) {
    if (isConflict(error) || isNotFound(error)) return undefined;
    throw error;
  }
}

/** `MicroTime` of Kubernetes. */
export function microTime(date: Date): string {
  return `${date.toISOString().slice(0, -1)}000Z`;
}
