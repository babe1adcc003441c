import type { Exec } from '../../run/exec.ts';

export interface FakeLv {
  name: string;
  bytes: number;
  tags: string[];
  active: boolean;
  pool?: string;
  layout: string;
  /** Of a copy-on-write snapshot. */
  origin?: string;
  isInvalid?: boolean;
  /** lv_role; `public` when it is undefined. */
  role?: string;
}

class CommandError extends Error {
  readonly code = 5;
  readonly stderr: string;
  constructor(stderr: string) {
    super(`exit 5: ${stderr}`);
    this.stderr = stderr;
  }
}

/** One volume group with LVM's commands, as LVM 2.03.16 answers them. A crash can be put before or after any command. */
export class FakeLvm {
  readonly volumes = new Map<string, FakeLv>();
  readonly calls: string[] = [];
  /** Names of volumes that a process has open. */
  readonly open = new Set<string>();
  /** Names of volumes that are mounted: LVM reports them as open, too. */
  readonly mounted = new Set<string>();
  readonly group = 'vg0';
  readonly extent = 4 << 20;
  size = 100 * (4 << 20);
  present = true;
  poolData = '10.00';
  poolMetadata = '1.00';
  zero = 'zero';
  discards = 'passdown';
  /** Of the thin pool, in bytes. */
  chunk = 65_536;
  /** Kernel modules that are loaded. */
  readonly modules = new Set(['dm_snapshot']);
  poolMetadataBytes = 4 << 20;
  /** Of LVM's own metadata area, in bytes: as `pvcreate` makes it. */
  metadataSize = 1_044_480;
  /** Bytes of LVM's own metadata that are not about a volume in `volumes`. */
  otherMetadata = 1_200;
  /** data_percent of active thin volumes. */
  written = '50.00';
  /** Throws from `Exec` without (before) or with (after) the command's effect. */
  crash: { when: 'before' | 'after'; command: string } | undefined;

  #changes: { count: number; at: number; when: 'before' | 'after' } | undefined;

  /** The nth command from now on that changes something crashes. */
  crashAtChange(at: number | undefined, when: 'before' | 'after' = 'before'): void {
    this.#changes = at === undefined ? undefined : { count: 0, at, when };
  }

  /** Commands are killed at their limit, and end only with this. */
  hangs: Promise<void> | undefined;

  readonly run: Exec = async (command, args, { onKilled }) => {
    const what = args.includes('--deltag') && args.includes('aoe.dev/new') ? 'untag' : command;
    this.calls.push(what);
    if (this.hangs) {
      onKilled?.(this.hangs);
      throw new Error('took too long');
    }
    if (this.crash?.when === 'before' && this.crash.command === what) throw new Error('crash');
    const crashes = this.#changes !== undefined && command !== 'vgs' && ++this.#changes.count === this.#changes.at;
    if (crashes && this.#changes?.when === 'before') throw new Error('crash');
    const stdout = this.#commit(command, args.slice(args[0] === '--config' ? 2 : 0));
    if (crashes) throw new Error('crash');
    if (this.crash?.when === 'after' && this.crash.command === what) throw new Error('crash');
    return { stdout, stderr: '' };
  };

  readonly hasDevice = async (path: string): Promise<boolean> => this.volumes.get(path.split('/').at(-1) ?? '')?.active ?? false;

  readonly isClaimed = async (path: string): Promise<boolean> => this.mounted.has(path.split('/').at(-1) ?? '');

  readonly hasModule = async (name: string): Promise<boolean> => this.modules.has(name);

  free(): number {
    let free = this.size;
    for (const { bytes, pool } of this.volumes.values()) if (!pool) free -= bytes;
    return free;
  }

  /** vg_mda_free: LVM lets a copy of its metadata take half of the area, and counts in sectors. */
  metadataFree(): number {
    return Math.max(0, Math.floor((this.metadataSize / 2 - this.#metadataUsed()) / 512) * 512);
  }

  /** Bytes of LVM's metadata, as measured with LVM 2.03.16. */
  #metadataUsed(): number {
    const texts = [...this.volumes.values()].map(
      ({ name, tags }) => 283 + name.length + tags.reduce((sum, tag) => sum + tag.length + 4, 0),
    );
    return texts.reduce((sum, bytes) => sum + bytes, this.otherMetadata);
  }

  /** Runs a command, and takes back what it did when LVM's metadata does not fit then. */
  #commit(command: string, args: string[]): string {
    const [before, used] = [structuredClone(this.volumes), this.#metadataUsed()];
    const stdout = this.#do(command, args);
    const [most, needed] = [this.metadataSize / 2 - 768, this.#metadataUsed()];
    if (needed <= Math.max(most, used)) return stdout;
    this.volumes.clear();
    for (const [name, volume] of before) this.volumes.set(name, volume);
    throw new CommandError(
      `  VG ${this.group} 1031 metadata on /dev/sda (${needed} bytes) exceeds maximum metadata size (${most} bytes)\n  Failed to write VG ${this.group}.\n`,
    );
  }

  #do(command: string, args: string[]): string {
    const option = (name: string): string | undefined => args[args.indexOf(name) + 1];
    const all = (name: string): string[] => args.flatMap((arg, index) => (arg === name ? [args[index + 1] ?? ''] : []));
    switch (command) {
      case 'vgs':
        if (!this.present)
          throw new CommandError(`  Volume group "${this.group}" not found\n  Cannot process volume group ${this.group}\n`);
        return this.#report(option('-o')?.includes('lv_name') ?? false);
      case 'lvcreate': {
        const name = option('--name') ?? '';
        if (this.volumes.has(name)) throw new CommandError(`  Logical Volume "${name}" already exists in volume group "${this.group}"\n`);
        if (args.includes('--snapshot')) {
          const origin = this.volumes.get(args.at(-1)?.slice(this.group.length + 1) ?? '');
          if (!origin) throw new CommandError(`  Failed to find logical volume "${args.at(-1)}"\n`);
          if (!origin.pool) {
            const size = Number.parseInt(option('--size') ?? '', 10);
            if (size > this.free()) throw new CommandError(`  Volume group "${this.group}" has insufficient free space.\n`);
            this.volumes.set(name, { ...origin, name, bytes: size, tags: all('--addtag'), active: true, origin: origin.name });
            return '';
          }
          this.volumes.set(name, { ...origin, name, tags: all('--addtag'), active: option('--setactivationskip') === 'n' });
          return '';
        }
        const thin = args.includes('--thinpool');
        const asked = Number.parseInt(option(thin ? '--virtualsize' : '--size') ?? '', 10);
        const bytes = Math.ceil(asked / this.extent) * this.extent;
        if (!thin && bytes > this.free()) {
          throw new CommandError(`  Volume group "${this.group}" has insufficient free space (1 extents): 2 required.\n`);
        }
        const pool = thin ? { pool: option('--thinpool') ?? '' } : {};
        this.volumes.set(name, { name, bytes, tags: all('--addtag'), active: true, layout: thin ? 'thin,sparse' : 'linear', ...pool });
        return '';
      }
      case 'lvchange':
        for (const name of args.filter((arg) => arg.startsWith(`${this.group}/`)).map((arg) => arg.slice(this.group.length + 1))) {
          const volume = this.volumes.get(name);
          if (!volume) throw new CommandError(`  Failed to find logical volume "${this.group}/${name}"\n`);
          const gone = all('--deltag');
          volume.tags = [...new Set([...volume.tags.filter((tag) => !gone.includes(tag)), ...all('--addtag')])];
          if (args.includes('--activate')) volume.active = option('--activate') === 'y';
        }
        return '';
      case 'lvrename': {
        const [from = '', to = ''] = args.slice(-2);
        const volume = this.volumes.get(from);
        if (!volume) throw new CommandError(`  Existing logical volume "${from}" not found in volume group "${this.group}"\n`);
        if (this.volumes.has(to)) throw new CommandError(`  Logical Volume "${to}" already exists in volume group "${this.group}"\n`);
        this.volumes.delete(from);
        this.volumes.set(to, { ...volume, name: to });
        for (const names of [this.open, this.mounted]) if (names.delete(from)) names.add(to);
        return '';
      }
      case 'lvextend': {
        const volume = this.volumes.get((args.at(-1) ?? '').slice(this.group.length + 1));
        const bytes = Math.ceil(Number.parseInt(option('--size') ?? '', 10) / this.extent) * this.extent;
        if (!volume) throw new CommandError(`  Failed to find logical volume "${args.at(-1)}"\n`);
        if ([...this.volumes.values()].some(({ origin }) => origin === volume.name))
          throw new CommandError('  Snapshot origin volumes can be resized only while inactive: try lvchange -an.\n');
        if (bytes <= volume.bytes) throw new CommandError(`  New size given (${bytes}) not larger than existing size (${volume.bytes})\n`);
        if (!volume.pool && bytes - volume.bytes > this.free())
          throw new CommandError('  Insufficient free space: 9 extents needed, but only 1 available\n');
        volume.bytes = bytes;
        return '';
      }
      case 'lvremove': {
        // What cannot be removed does not keep it from removing the others.
        const tag = option('--select')?.replace('lv_tags=', '') ?? '';
        const said = args
          .filter((arg) => arg.startsWith(`${this.group}/`))
          .map((arg) => this.#remove(arg.slice(this.group.length + 1), tag));
        if (said.join('') !== '') throw new CommandError(said.join(''));
        return '';
      }
      default:
        return '';
    }
  }

  #remove(name: string, tag: string): string {
    if (this.volumes.get(name)?.tags.includes(tag) === false) return '';
    if (this.open.has(name)) return `  Logical volume ${this.group}/${name} in use.\n`;
    // As lvremove --yes does.
    for (const { name: each, origin } of [...this.volumes.values()]) if (origin === name) this.volumes.delete(each);
    return this.volumes.delete(name) ? '' : `  Failed to find logical volume "${this.group}/${name}"\n`;
  }

  #report(volumes: boolean): string {
    const group = {
      vg_name: this.group,
      vg_size: String(this.size),
      vg_free: String(this.free()),
      vg_extent_size: String(this.extent),
      vg_missing_pv_count: '0',
      vg_mda_size: String(this.metadataSize),
      vg_mda_free: String(this.metadataFree()),
    };
    const rows = [...this.volumes.values()].map(({ name, bytes, tags, active, pool, layout, origin, isInvalid, role }) => ({
      ...group,
      lv_name: name,
      lv_size: String(bytes),
      lv_tags: [...tags].sort().join(','),
      lv_active: active ? 'active' : '',
      pool_lv: pool ?? '',
      lv_layout: layout,
      data_percent: layout === 'thin,pool' ? this.poolData : active && pool ? this.written : '',
      metadata_percent: layout === 'thin,pool' ? this.poolMetadata : '',
      lv_metadata_size: layout === 'thin,pool' ? String(this.poolMetadataBytes) : '',
      chunk_size: layout === 'thin,pool' ? String(this.chunk) : '0',
      zero: layout === 'linear' ? 'unknown' : this.zero,
      kernel_discards: layout === 'thin,pool' ? this.discards : '',
      lv_health_status: '',
      origin: origin ?? '',
      lv_snapshot_invalid: origin && !pool ? (isInvalid ? 'snapshot invalid' : '') : 'unknown',
      lv_role: role ?? 'public',
      lv_device_open: this.open.has(name) || this.mounted.has(name) ? 'open' : '',
    }));
    return JSON.stringify({ report: [{ vg: volumes ? rows : [group] }] });
  }
}
