/** `aoe-e7.3-UID`: address and UID of the volume. Clones have the LUKS UUID of their source, so that is in no name. */
const NAME = /^aoe-(e\d+\.\d+)-/;

/** Name of the mapping of a volume, as in /dev/mapper/NAME. */
export function mappingName(address: string, volumeUID: string): string {
  return `aoe-${address}-${volumeUID}`;
}

/** The address of the disk that a mapping is on, from its name, or its path in /dev/mapper; undefined when it is not one of ours. */
export function addressOfMapping(nameOrPath: string): string | undefined {
  return NAME.exec(nameOrPath.replace(/^\/dev\/mapper\//, ''))?.[1];
}
