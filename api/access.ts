export const ACCESS = ['Exclusive', 'ReadOnlyMany', 'Shared'] as const;

/** How many hosts may use a volume at once, and how. */
export type Access = (typeof ACCESS)[number];

export function isAccess(text: unknown): text is Access {
  return (ACCESS as readonly unknown[]).includes(text);
}

/** Nodes that a volume can be attached to at once: the most that spec.initiators holds. */
export const MAX_NODES = 64;
