/** The file systems that a volume can be formatted with. */
export const FILESYSTEM_TYPES: readonly string[] = ['ext4', 'xfs'];
