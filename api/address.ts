/** Highest usable shelf (AoE major address): 0xFFFF means every shelf. */
export const MAX_SHELF = 0xfffe;
/** Highest usable slot (AoE minor address): 0xFF means every slot. */
export const MAX_SLOT = 0xfe;
/** The shelf that the Linux initiator refuses (drivers/block/aoe/aoecmd.c, aoecmd_cfg_rsp). */
export const REFUSED_SHELF = 0xfff;

/** Where a target answers: AoE major and minor address (AoEr11 section 2). Unique on an L2 segment. */
export interface Address {
  shelf: number;
  slot: number;
}

/** The Linux driver's spelling of an address, which is also the name of its device: `e7.3`. */
export function formatAddress(address: Address): string {
  return `e${address.shelf}.${address.slot}`;
}

/**
 * Parses `e7.3`.
 * @throws RangeError when the text is not an address that a target can have
 */
export function parseAddress(text: string): Address {
  const match = /^e(0|[1-9][0-9]{0,4})\.(0|[1-9][0-9]{0,2})$/.exec(text);
  const address = { shelf: Number(match?.[1]), slot: Number(match?.[2]) };
  if (!match || address.shelf > MAX_SHELF || address.slot > MAX_SLOT || address.shelf === REFUSED_SHELF) {
    throw new RangeError(`"${text}" is not an AoE address: write eSHELF.SLOT, such as e7.3`);
  }
  return address;
}

export function sameAddress(a: Address | undefined, b: Address | undefined): boolean {
  return a !== undefined && b !== undefined && a.shelf === b.shelf && a.slot === b.slot;
}

/**
 * Name of the mapping of an encrypted volume on its disk, as in /dev/mapper/NAME: it begins with `aoe-` and the address. Clones have the
 * LUKS UUID of their source, so that is in no name.
 * @param address such as e7.3
 */
export function mappingName(address: string, volumeUID: string): string {
  return `aoe-${address}-${volumeUID}`;
}

const MAPPING_NAME = /^aoe-(e\d+\.\d+)-/;

/** The address of the disk that a mapping is on, from its name, or its path in /dev/mapper; undefined when it is not one of ours. */
export function addressOfMapping(nameOrPath: string): string | undefined {
  return MAPPING_NAME.exec(nameOrPath.replace(/^\/dev\/mapper\//, ''))?.[1];
}
