/** `aoe-e7.3-UID`: as mappingName() of api/address.ts makes it. */
const NAME = /^aoe-(e\d+\.\d+)-/;

/** The address of the disk that a mapping is on, from its name, or its path in /dev/mapper; undefined when it is not one of ours. */
export function addressOfMapping(nameOrPath: string): string | undefined {
  return NAME.exec(nameOrPath.replace(/^\/dev\/mapper\//, ''))?.[1];
}
