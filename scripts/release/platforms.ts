import { type Architecture, HERE, NAMES } from '../../test/testbed/image/platform.ts';

/**
 * Reads a list of platforms, separated by blanks or commas: each once, sorted, and that of this machine if the list is empty.
 * @throws Error when one is not known
 */
export function platformsIn(list = ''): Architecture[] {
  const names = list.split(/[\s,]+/).filter((name) => name !== '');
  const known = Object.keys(NAMES);
  const unknown = names.find((name) => !known.includes(name));
  if (unknown !== undefined) throw new Error(`PLATFORMS has ${unknown}; there are ${known.join(' and ')}`);
  return names.length === 0 ? [HERE] : [...new Set(names as Architecture[])].toSorted();
}
