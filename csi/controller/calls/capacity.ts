import { available, grainOf, reservationKey, tailOf } from '../../../api/capacity.ts';
import { unfit } from '../../../api/eligibility.ts';
import { roundDown } from '../../../api/quantity.ts';
import { userBytesOf } from '../../../api/volume.ts';
import { type csi, int64 } from '../../../rpc/mod.ts';
import type { Deps } from '../deps.ts';
import { unsupported } from '../request/capabilities.ts';
import { DEFAULT_POOL, ENCRYPTED, encryptionOf } from '../request/request.ts';
import { segmentOf } from '../topology.ts';

/**
 * GetCapacity: the free bytes of a pool on the nodes of a segment, in all, and the largest volume that fits on one of them. Nodes to
 * which the operator would give no volume do not count.
 */
export function getCapacity(deps: Deps, request: csi.v1.IGetCapacityRequest) {
  const problem = (request.volumeCapabilities ?? []).map(unsupported).find((each) => each !== undefined);
  const pool = deps.pools.get(request.parameters?.pool ?? DEFAULT_POOL);
  const segment = segmentOf(request.accessibleTopology);
  const pools = deps.pools.list();
  const free = (problem ? [] : (pool?.status?.nodes ?? [])).flatMap((entry) => {
    if (!pool || unfit(pool, entry, deps.nodes.get(entry.name), deps.health, segment === undefined ? [] : [segment])) return [];
    // Backends round sizes up to their granularity, so the rest holds no volume; and each has a tail.
    const [grain, tail] = [grainOf(entry), tailOf(entry)];
    const reserved = (name: string) => deps.reserved.total(reservationKey(name, entry.name), grain, tail);
    return [Math.max(0, roundDown(available(pool, entry, pools, reserved), grain) - tail)];
  });
  const sum = free.reduce((bytes, each) => bytes + each, 0);
  const encryption = encryptionOf(request.parameters?.[ENCRYPTED], 'Exclusive');
  const largest = userBytesOf({ encryption }, Math.max(0, ...free));
  return { availableCapacity: int64(sum), maximumVolumeSize: { value: int64(largest) } };
}
