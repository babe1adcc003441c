import { constants } from 'node:fs';
import { access, open, readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { addressOfMapping } from '../../../api/address.ts';
import { MiB } from '../../../api/quantity.ts';
import { LUKS_HEADER_BYTES, LUKS_SECTOR_BYTES } from '../../../api/volume.ts';
import { Code, RpcError } from '../../../rpc/status.ts';
import type { Exec } from '../../../run/exec.ts';
import { Semaphore } from '../../../run/semaphore.ts';
import type { Encryption, Mapping } from '../contracts.ts';
import { failureText } from '../failure-text.ts';
import type { Passphrase } from './passphrase.ts';

const MODPROBE_MS = 20_000;
const READ_MS = 20_000;
/** Each write of the header is durable before the next: 32 MiB, on a slow disk. */
const FORMAT_MS = 300_000;
/** The derivation of the key takes a second or two on a small machine. */
const OPEN_MS = 120_000;
const GROW_MS = 60_000;
/** dmsetup tries for five seconds by itself: udev opens a mapping for a moment when its last user has closed it. */
const CLOSE_MS = 20_000;
/** 256 KiB/s: what writes slower than that is given up. */
const SLOWEST_BYTES_PER_MS = 256;
const SECTOR = 512;

/**
 * How a header is made: docs/adr/0028. All that decides about sizes, or about what a small node needs to open it, is named here and not left
 * to the defaults of cryptsetup, which depend on its version and on the machine that formats.
 */
const FORMAT_ARGS: readonly string[] = [
  ...['--type', 'luks2', '--cipher', 'aes-xts-plain64', '--key-size', '512', '--hash', 'sha256'],
  ...['--sector-size', String(LUKS_SECTOR_BYTES), '--offset', String(LUKS_HEADER_BYTES / SECTOR)],
  // 64 MiB and one thread. The default takes up to 1 GiB.
  ...['--pbkdf', 'argon2id', '--pbkdf-memory', String(64 * 1024), '--pbkdf-parallel', '1', '--pbkdf-force-iterations', '4'],
];

/**
 * Beside those above, for authentication: docs/adr/0028. The tags are an HMAC of each sector, its number and its IV. Its first zeros are
 * written by {@link zeroAll}, which goes on where it was when it is interrupted; those of cryptsetup begin again.
 */
const AUTHENTICATED_ARGS: readonly string[] = ['--integrity', 'hmac-sha256', '--integrity-no-wipe'];
/** How cryptsetup names the device of dm-integrity that it puts below a mapping (lib/luks2/luks2_json_metadata.c). */
const TAGS_SUFFIX = '_dif';

/** Exit status 2 of cryptsetup(8): no permission, which means a wrong passphrase. */
const WRONG_PASSPHRASE = 2;
/** What cryptsetup makes while it reads or writes a key slot, where the kernel's crypto API cannot be used from programs. It stays when cryptsetup is killed. */
const TEMPORARY = /^temporary-cryptsetup-/;

/** A device of device-mapper as sysfs shows it. */
interface Mapped {
  readonly mapping: Mapping;
  /** Names of the devices below it. */
  readonly slaves: readonly string[];
}

/** cryptsetup(8) and dmsetup(8). The passphrase goes to them by standard input, and is neither an argument nor in the environment. */
export class Cryptsetup implements Encryption {
  readonly #exec: Exec;
  readonly #sysfs: string;
  /** The derivation of a key needs 64 MiB. A disk that does not answer must not keep all others waiting. */
  readonly #derivations = new Semaphore(2);
  /**
   * Parts of the first zeros of all disks, in the order in which they are asked for: each disk gets on, and new ones together do not take the
   * node's network from the pods that run. A disk that does not answer has a place until its program is killed, and is not begun again before
   * that has ended (DiskPrograms).
   */
  readonly #zeros = new Semaphore(2);

  constructor(exec: Exec, sysfs = '/sys') {
    this.#exec = exec;
    this.#sysfs = sysfs;
  }

  async prepare({ authenticated }: { authenticated: boolean }, signal: AbortSignal): Promise<void> {
    await this.#load('dm_crypt', 'dm-crypt', 'encrypted volumes', signal);
    if (authenticated) await this.#load('dm_integrity', 'dm-integrity', 'volumes with authenticated encryption', signal);
  }

  async #load(module: string, name: string, who: string, signal: AbortSignal): Promise<void> {
    const isLoaded = await access(join(this.#sysfs, 'module', module)).then(
      () => true,
      () => false,
    );
    if (isLoaded) return;
    try {
      await this.#exec('modprobe', [module], { timeoutMs: MODPROBE_MS, signal });
    } catch (error) {
      const message = `the kernel's ${name} cannot be loaded on this node, and ${who} need it (modprobe ${module}: ${failureText(error)}); install the module`;
      throw new RpcError(Code.UNAVAILABLE, message, { cause: error });
    }
  }

  async mappings(address: string): Promise<Mapping[]> {
    const disk = `etherd!${address}`;
    const ours = await this.#ours(address);
    return ours.flatMap(({ mapping, slaves }) => {
      if (mapping.bytes === 0 || isTags(mapping)) return [];
      if (slaves.includes(disk)) return [mapping];
      const tags = ours.find((each) => slaves.includes(each.mapping.node) && each.slaves.includes(disk))?.mapping.node;
      return tags === undefined ? [] : [{ ...mapping, tags }];
    });
  }

  async closeAll(address: string, signal: AbortSignal): Promise<void> {
    let failure: unknown;
    // What lies on top goes first.
    const all = (await this.#ours(address, true)).toSorted((a, b) => Number(isTags(a.mapping)) - Number(isTags(b.mapping)));
    for (const { mapping } of all) {
      await this.#close(mapping.name, signal).catch((error: unknown) => {
        signal.throwIfAborted();
        failure ??= error;
      });
    }
    if (failure) throw failure;
  }

  async isClaimed({ path }: Mapping): Promise<boolean> {
    try {
      // A mapping has no partitions that the kernel would read at the first open (drivers/md/dm.c, GENHD_FL_NO_PART).
      await (await open(path, constants.O_RDONLY | constants.O_EXCL)).close();
      return false;
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'EBUSY') return true;
      throw new RpcError(Code.INTERNAL, `${path} cannot be opened: ${failureText(error)}`, { cause: error });
    }
  }

  async uuid(path: string, signal: AbortSignal): Promise<string> {
    try {
      return (await this.#exec('cryptsetup', ['luksUUID', path], { timeoutMs: READ_MS, signal })).stdout.trim();
    } catch (error) {
      throw new RpcError(Code.INTERNAL, `the LUKS header of ${path} cannot be read: ${failureText(error)}`, { cause: error });
    }
  }

  async format(
    path: string,
    { uuid, passphrase, authenticated }: { uuid: string; passphrase: Passphrase; authenticated: boolean },
    signal: AbortSignal,
  ): Promise<void> {
    const more = authenticated ? AUTHENTICATED_ARGS : [];
    const args = ['luksFormat', '--batch-mode', ...FORMAT_ARGS, ...more, '--uuid', uuid, '--key-file', '-', path];
    try {
      await this.#derive(args, passphrase, FORMAT_MS, signal);
    } catch (error) {
      signal.throwIfAborted();
      throw new RpcError(Code.INTERNAL, `luksFormat of ${path} failed: ${failureText(error)}`, { cause: error });
    }
  }

  async open(
    path: string,
    { name, passphrase, readOnly }: { name: string; passphrase: Passphrase; readOnly: boolean },
    signal: AbortSignal,
  ): Promise<Mapping> {
    // Without the kernel's keyring, so that a mapping can grow without the passphrase, also when no call asks for it.
    const args = ['open', '--type', 'luks2', '--disable-keyring', ...(readOnly ? ['--readonly'] : []), '--key-file', '-', path, name];
    try {
      await this.#derive(args, passphrase, OPEN_MS, signal);
    } catch (error) {
      signal.throwIfAborted();
      if ((error as { code?: unknown }).code === WRONG_PASSPHRASE) {
        const message = `the passphrase does not open the LUKS header of ${path}: the Secret is not the one with which the volume was made, or was changed since`;
        throw new RpcError(Code.UNAUTHENTICATED, message);
      }
      throw new RpcError(Code.INTERNAL, `the LUKS header of ${path} cannot be opened: ${failureText(error)}`, { cause: error });
    }
    const address = addressOfMapping(name) ?? '';
    const found = (await this.mappings(address)).find((mapping) => mapping.name === name);
    if (!found) throw new RpcError(Code.INTERNAL, `cryptsetup has opened ${path}, but there is no /dev/mapper/${name}`);
    return found;
  }

  async zeroEnds(mapping: Mapping, signal: AbortSignal): Promise<void> {
    const length = Math.min(MiB, mapping.bytes);
    for (const start of [0, mapping.bytes - length]) await this.#write(mapping, { start, length }, signal);
  }

  async zero(mapping: Mapping, part: { start: number; length: number }, signal: AbortSignal): Promise<void> {
    await this.#zeros.run(() => this.#write(mapping, part, signal), signal);
  }

  /** Writes zeros. */
  async #write({ path }: Mapping, { start, length }: { start: number; length: number }, signal: AbortSignal): Promise<void> {
    const how = ['iflag=count_bytes', 'oflag=seek_bytes,direct', 'conv=nocreat,notrunc,fdatasync', 'status=none'];
    const args = ['if=/dev/zero', `of=${path}`, `bs=${Math.min(MiB, length)}`, `count=${length}`, `seek=${start}`, ...how];
    try {
      await this.#exec('dd', args, { timeoutMs: READ_MS + length / SLOWEST_BYTES_PER_MS, signal });
    } catch (error) {
      signal.throwIfAborted();
      throw new RpcError(Code.INTERNAL, `${path} cannot be written: ${failureText(error)}`, { cause: error });
    }
  }

  async grow({ name }: Mapping, signal: AbortSignal): Promise<Mapping> {
    try {
      await this.#exec('cryptsetup', ['resize', name], { timeoutMs: GROW_MS, signal });
    } catch (error) {
      signal.throwIfAborted();
      throw new RpcError(Code.INTERNAL, `mapping ${name} cannot be made larger: ${failureText(error)}`, { cause: error });
    }
    const found = (await this.#devices()).find(({ mapping }) => mapping.name === name)?.mapping;
    if (!found) throw new RpcError(Code.INTERNAL, `mapping ${name} is gone`);
    return found;
  }

  async #derive(args: readonly string[], passphrase: Passphrase, timeoutMs: number, signal: AbortSignal): Promise<void> {
    await this.#derivations.run(() => this.#exec('cryptsetup', args, { input: passphrase.reveal(), timeoutMs, signal }), signal);
  }

  /** dmsetup and not cryptsetup, which would read the header first: the disk may not answer. */
  async #close(name: string, signal: AbortSignal): Promise<void> {
    try {
      await this.#exec('dmsetup', ['remove', '--retry', name], { timeoutMs: CLOSE_MS, signal });
    } catch (error) {
      if (!(await this.#devices()).some(({ mapping }) => mapping.name === name)) return;
      throw new RpcError(Code.INTERNAL, `mapping ${name} cannot be closed: ${failureText(error)}`, { cause: error });
    }
  }

  /**
   * The mappings of an address, also those that are not complete because cryptsetup was killed.
   * @param withTemporary also those that cryptsetup makes for itself on the disk
   */
  async #ours(address: string, withTemporary = false): Promise<Mapped[]> {
    const isTemporary = ({ mapping, slaves }: Mapped) => TEMPORARY.test(mapping.name) && slaves.includes(`etherd!${address}`);
    return (await this.#devices()).filter(
      (each) => addressOfMapping(each.mapping.name) === address || (withTemporary && isTemporary(each)),
    );
  }

  async #devices(): Promise<Mapped[]> {
    const block = join(this.#sysfs, 'block');
    const names = (await readdir(block).catch(() => [])).filter((each) => /^dm-\d+$/.test(each));
    const all = await Promise.all(names.map((node) => this.#device(join(block, node), node)));
    return all.flatMap((each) => each ?? []);
  }

  async #device(directory: string, node: string): Promise<Mapped | undefined> {
    const text = (name: string) => readFile(join(directory, name), 'utf8');
    try {
      const name = (await text('dm/name')).trim();
      if (addressOfMapping(name) === undefined && !TEMPORARY.test(name)) return undefined;
      const [device, sectors, slaves] = await Promise.all([text('dev'), text('size'), readdir(join(directory, 'slaves'))]);
      return { mapping: { name, node, path: `/dev/mapper/${name}`, device: device.trim(), bytes: Number(sectors) * SECTOR }, slaves };
    } catch {
      // It was removed meanwhile.
      return undefined;
    }
  }
}

/** Whether it is the device of dm-integrity below a mapping. */
function isTags({ name }: Mapping): boolean {
  return name.endsWith(TAGS_SUFFIX);
}
