import type { NetworkInterface } from '../../aoe/mod.ts';
import { TARGET_END } from '../../api/local-link.ts';

/** Flag `--interfaces`: every physical interface that is up, or those named. */
export type InterfaceSelection = 'auto' | readonly string[];

/**
 * Reads `auto` or `eth1,eth2`.
 * @throws RangeError when a name is empty
 */
export function parseSelection(text: string): InterfaceSelection {
  if (text === 'auto') return 'auto';
  const names = text.split(',').map((name) => name.trim());
  if (names.some((name) => !name || name.includes('/')))
    throw new RangeError(`"${text}": write auto, or interface names such as eth1,eth2`);
  return [...new Set(names)];
}

/**
 * The interfaces to serve on, the target's end of the local link last. Under `auto`, a chosen interface stays chosen while it
 * exists: the target itself copes with a link that goes down and up again.
 */
export function chooseInterfaces(
  selection: InterfaceSelection,
  present: readonly NetworkInterface[],
  previous: readonly string[],
): string[] {
  const names =
    selection === 'auto'
      ? present.filter(({ name, physical, up }) => physical && (up || previous.includes(name))).map(({ name }) => name)
      : [...selection];
  return [...names.filter((name) => name !== TARGET_END).sort(), TARGET_END];
}
