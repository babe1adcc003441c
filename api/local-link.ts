import { createHash } from 'node:crypto';

/**
 * The local link: a veth pair between the target of a storage node and the initiator of the same node. A network card does not
 * receive the frames that it sends; the other end of a veth pair does.
 */

/** The end on which the target serves. */
export const TARGET_END = 'aoe-target';
/** The end that the node's own initiator uses. */
export const INITIATOR_END = 'aoe-local';

/** MAC address of {@link INITIATOR_END} on a node: locally administered, unicast, and always the same, since access lists name it. */
export function localMac(node: string): string {
  const digest = createHash('sha256').update(`aoe.dev/local/${node}`).digest();
  return ['02', ...digest.subarray(0, 5).toString('hex').matchAll(/../g)].map(String).join(':');
}
