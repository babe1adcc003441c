export const ACCESS = ['Exclusive', 'ReadOnlyMany', 'Shared'] as const;

/** How many hosts may use a volume at once, and how. */
export type Access = (typeof ACCESS)[number];

export function isAccess(text: unknown): text is Access {
  return (ACCESS as readonly unknown[]).includes(text);
}
