import { createHash } from 'node:crypto';

/** The field manager of the agents for objects that one agent writes: an AoEVolume, its own AoENode. */
export const FIELD_MANAGER = 'aoe-csi-agent';

/** The field manager of the agent at the other place of a move, for status.move alone. */
export const MOVE_FIELD_MANAGER = `${FIELD_MANAGER}-move`;

/** The field manager of the agent for what its target heard: status.heard of its own AoENode alone. */
export const HEARD_FIELD_MANAGER = `${FIELD_MANAGER}-heard`;

/** Limit of the API server for the name of a field manager, in characters. */
const MAX_LENGTH = 128;

/**
 * The field manager of one node's agent, for objects that the agents of all nodes write: an AoEPool. A node's name may have 253
 * characters; one that is too long is cut, and stays unique by a digest of the whole.
 */
export function nodeFieldManager(node: string): string {
  const manager = `${FIELD_MANAGER}-${node}`;
  if (manager.length <= MAX_LENGTH) return manager;
  const digest = createHash('sha256').update(node).digest('hex').slice(0, 16);
  return `${manager.slice(0, MAX_LENGTH - digest.length - 1)}-${digest}`;
}
