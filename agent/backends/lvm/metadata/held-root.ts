/**
 * Where the status of a thin pool says whether a metadata snapshot is held (Documentation/admin-guide/device-mapper/thin-provisioning.rst):
 * START LENGTH thin-pool TRANSACTION METADATA DATA HELD-ROOT MODE …
 * @returns undefined when the pool has failed
 */
export function isRootHeld(status: string): boolean | undefined {
  const [, , type, , , , held, mode] = status.trim().split(/\s+/);
  if (type !== 'thin-pool' || held === undefined || mode === undefined) return undefined;
  return held !== '-';
}

/** Names of the devices of a thin pool in /dev/mapper: LVM doubles the dashes of names. */
export function poolDevices(group: string, pool: string): { pool: string; metadata: string } {
  const name = [group, pool].map((part) => part.replaceAll('-', '--')).join('-');
  return { pool: `${name}-tpool`, metadata: `/dev/mapper/${name}_tmeta` };
}
