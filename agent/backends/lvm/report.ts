/** A volume group, as `vgs` reports it. Sizes are in bytes. */
export interface VolumeGroup {
  name: string;
  size: number;
  free: number;
  extent: number;
  missingDisks: number;
  /** Of LVM's own metadata area: see metadata-area.ts. */
  metadataSize: number;
  metadataFree: number;
  volumes: LogicalVolume[];
}

export interface LogicalVolume {
  name: string;
  bytes: number;
  tags: string[];
  active: boolean;
  /** Name of the thin pool of a thin volume. */
  pool?: string;
  /** Of a thin volume: its number in the thin pool. */
  thinId?: number;
  /** `thin,pool`, `thin,sparse`, `linear`, … */
  layout: string[];
  dataPercent?: string;
  metadataPercent?: string;
  /** Of a thin pool: size of its metadata. */
  metadataBytes?: number;
  /** Of a thin pool: size of the blocks that it hands out. */
  chunk?: number;
  /** Of a thin pool: whether it zeroes blocks before it hands them out. */
  zeroes: boolean;
  /** Of an active thin pool: what the kernel does with discards: `ignore`, `nopassdown` or `passdown` (to the disk below the pool, too). */
  discards?: string;
  /** `public`, `snapshot`, `thinsnapshot`, `thickorigin`, …; absent where LVM did not say. */
  roles?: string[];
  /** Something on this node has its device open: a process, a mount, or another device. */
  isOpen?: true;
  /** `partial`, `failed`, …; empty when all is well. */
  health: string;
  /** Of a snapshot: name of the volume that it was made of. */
  origin?: string;
  /** Of a copy-on-write snapshot: it was full, or could not be written, so its data is lost. */
  isInvalid?: true;
}

const GROUP_FIELDS = ['vg_name', 'vg_size', 'vg_free', 'vg_extent_size', 'vg_missing_pv_count', 'vg_mda_size', 'vg_mda_free'];
const VOLUME_FIELDS = [
  'lv_name',
  'lv_size',
  'lv_tags',
  'lv_active',
  'pool_lv',
  'lv_layout',
  'data_percent',
  'metadata_percent',
  'lv_metadata_size',
  'chunk_size',
  'zero',
  'kernel_discards',
  'lv_health_status',
  'origin',
  'lv_snapshot_invalid',
  'lv_role',
  'lv_device_open',
  'thin_id',
];

/** Arguments of `vgs` for a report on a group; with `volumes`, one row per segment of a logical volume (and none for an empty group). */
export function reportArgs(group: string, { volumes }: { volumes: boolean }): string[] {
  const fields = volumes ? [...GROUP_FIELDS, ...VOLUME_FIELDS] : GROUP_FIELDS;
  return ['--reportformat', 'json', '--units', 'b', '--nosuffix', '-o', fields.join(','), group];
}

type Row = Record<string, string | undefined>;

function size(row: Row, field: string): number {
  const value = Number(row[field]);
  if (!row[field] || !Number.isSafeInteger(value) || value < 0) throw new SyntaxError(`LVM reports ${field} as "${row[field] ?? ''}"`);
  return value;
}

function logicalVolume(row: Row): LogicalVolume {
  const layout = (row.lv_layout ?? '').split(',').filter(Boolean);
  // LVM reports a chunk size of 0 for volumes that have none.
  const pool = layout.includes('thin') && layout.includes('pool');
  return {
    name: row.lv_name ?? '',
    bytes: size(row, 'lv_size'),
    tags: (row.lv_tags ?? '').split(',').filter(Boolean),
    active: row.lv_active === 'active',
    ...(row.pool_lv ? { pool: row.pool_lv } : {}),
    ...(row.pool_lv && row.thin_id ? { thinId: size(row, 'thin_id') } : {}),
    layout,
    ...(row.data_percent ? { dataPercent: row.data_percent } : {}),
    ...(row.metadata_percent ? { metadataPercent: row.metadata_percent } : {}),
    ...(pool && row.lv_metadata_size ? { metadataBytes: size(row, 'lv_metadata_size') } : {}),
    ...(pool && row.chunk_size ? { chunk: size(row, 'chunk_size') } : {}),
    zeroes: row.zero === 'zero',
    ...(pool && row.kernel_discards ? { discards: row.kernel_discards } : {}),
    health: row.lv_health_status ?? '',
    ...(row.origin ? { origin: row.origin } : {}),
    ...(row.lv_snapshot_invalid === 'snapshot invalid' ? { isInvalid: true as const } : {}),
    ...(row.lv_role ? { roles: row.lv_role.split(',') } : {}),
    ...(row.lv_device_open === 'open' ? { isOpen: true as const } : {}),
  };
}

/**
 * Parses the JSON of `vgs`.
 * @returns undefined when it has no row, as a report with volumes of a group without volumes
 * @throws SyntaxError when it is not such a report
 */
export function parseReport(json: string): VolumeGroup | undefined {
  const document = JSON.parse(json) as { report?: { vg?: Row[] }[] };
  const rows = document.report?.flatMap((part) => part.vg ?? []);
  if (!rows) throw new SyntaxError('LVM wrote no report');
  const first = rows[0];
  if (!first) return undefined;
  return {
    name: first.vg_name ?? '',
    size: size(first, 'vg_size'),
    free: size(first, 'vg_free'),
    extent: size(first, 'vg_extent_size'),
    missingDisks: Number(first.vg_missing_pv_count ?? 0),
    metadataSize: size(first, 'vg_mda_size'),
    metadataFree: size(first, 'vg_mda_free'),
    // Some fields belong to segments, so LVM writes a row for each segment of a volume, all alike in the other fields.
    volumes: [...new Map(rows.flatMap((row) => (row.lv_name ? [[row.lv_name, row] as const] : []))).values()].map(logicalVolume),
  };
}
