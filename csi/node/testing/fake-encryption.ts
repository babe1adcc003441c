import { LUKS_HEADER_BYTES, userBytesOf } from '../../../api/volume.ts';
import { Code, RpcError } from '../../../rpc/status.ts';
import type { Encryption, Mapping } from '../contracts.ts';
import type { Passphrase } from '../encryption/passphrase.ts';
import type { FakeDriver, FakeSegment, FakeTarget } from './fakes.ts';

/** The steps after which the fake can fail, as a program that is killed does. */
export type Step = 'begin of format' | 'format' | 'open' | 'zeros';

/** LUKS headers on the disks of a fake segment. A mapping that was never written reads as noise. */
export class FakeEncryption implements Encryption {
  readonly #segment: FakeSegment;
  readonly #driver: FakeDriver;
  readonly calls: string[] = [];
  /** Fails once, after that step. */
  failAfter: Step | undefined;
  /** Somebody has all mappings open. */
  busy = false;
  #minor = 0;

  constructor(segment: FakeSegment, driver: FakeDriver) {
    this.#segment = segment;
    this.#driver = driver;
  }

  #target(path: string): FakeTarget {
    const [target] = this.#segment.at(path.replace('/dev/etherd/', ''));
    if (!target) throw new RpcError(Code.INTERNAL, `${path} cannot be read`);
    return target;
  }

  #step(step: Step): void {
    if (this.failAfter !== step) return;
    this.failAfter = undefined;
    throw new RpcError(Code.INTERNAL, `killed after: ${step}`);
  }

  async prepare(): Promise<void> {}

  async mappings(address: string): Promise<Mapping[]> {
    const mapping = this.#driver.mapped.get(address);
    return mapping ? [mapping] : [];
  }

  async isClaimed({ device }: Mapping): Promise<boolean> {
    return this.busy || this.#driver.mounts().some((each) => each.device === device);
  }

  async uuid(path: string): Promise<string> {
    return this.#target(path).luks?.uuid ?? '';
  }

  async format(path: string, { uuid, passphrase, authenticated }: Parameters<Encryption['format']>[1]): Promise<void> {
    this.calls.push(authenticated ? 'format authenticated' : 'format');
    const target = this.#target(path);
    target.blank = false;
    this.#step('begin of format');
    target.content = { kind: 'found', type: 'crypto_LUKS' };
    const encryption = authenticated ? 'LUKS2Authenticated' : 'LUKS2';
    const inside = { content: { kind: 'nothing' }, blank: false, bytes: userBytesOf({ encryption }, target.bytes) } as const;
    target.luks = { uuid, passphrase: passphrase.reveal(), inside, ...(authenticated ? { zeroed: 0 } : {}) };
    this.#step('format');
  }

  async open(path: string, { name, passphrase, readOnly }: { name: string; passphrase: Passphrase; readOnly: boolean }): Promise<Mapping> {
    this.calls.push(readOnly ? 'open read-only' : 'open');
    const { luks, bytes } = this.#target(path);
    if (!luks) throw new RpcError(Code.INTERNAL, `${path} has no LUKS header`);
    if (luks.passphrase !== passphrase.reveal()) throw new RpcError(Code.UNAUTHENTICATED, `the passphrase does not open ${path}`);
    const address = path.replace('/dev/etherd/', '');
    if (this.#driver.mapped.has(address)) throw new RpcError(Code.INTERNAL, `${name} exists already`);
    const number = this.#minor++;
    const hasTags = luks.zeroed !== undefined;
    const size = { bytes: hasTags ? luks.inside.bytes : bytes - LUKS_HEADER_BYTES };
    const own = { name, node: `dm-${number}`, path: `/dev/mapper/${name}`, device: `254:${number}`, ...size };
    const mapping: Mapping = hasTags ? { ...own, tags: `dm-${this.#minor++}` } : own;
    this.#driver.mapped.set(address, mapping);
    this.#step('open');
    return mapping;
  }

  async zeroEnds({ name }: Mapping): Promise<void> {
    const address = [...this.#driver.mapped].find(([, mapping]) => mapping.name === name)?.[0] ?? '';
    const { luks } = this.#target(address);
    if (luks) luks.inside = { ...luks.inside, blank: true };
    this.#step('zeros');
  }

  /** What comes before each part; a test can let it wait. */
  beforeZero: (start: number, signal: AbortSignal) => Promise<void> = async () => {};

  async zero({ name, bytes }: Mapping, { start, length }: { start: number; length: number }, signal: AbortSignal): Promise<void> {
    const address = [...this.#driver.mapped].find(([, mapping]) => mapping.name === name)?.[0] ?? '';
    const { luks } = this.#target(address);
    if (luks?.zeroed === undefined) throw new Error('zeros for a mapping without tags');
    await this.beforeZero(start, signal);
    this.calls.push(`zero ${start >> 20}`);
    if (start > luks.zeroed) throw new Error(`${luks.zeroed} to ${start} would never be written`);
    luks.zeroed = Math.max(luks.zeroed, start + length);
    if (luks.zeroed === bytes) luks.inside = { ...luks.inside, blank: true };
    this.#step('zeros');
  }

  async grow(mapping: Mapping): Promise<Mapping> {
    this.calls.push('grow');
    const address = [...this.#driver.mapped].find(([, { name }]) => mapping.name === name)?.[0] ?? '';
    const grown = { ...mapping, bytes: (this.#driver.known.get(address)?.disk.bytes ?? 0) - LUKS_HEADER_BYTES };
    this.#driver.mapped.set(address, grown);
    return grown;
  }

  async closeAll(address: string): Promise<void> {
    const mapping = this.#driver.mapped.get(address);
    if (!mapping) return;
    if (await this.isClaimed(mapping)) throw new RpcError(Code.INTERNAL, `mapping ${mapping.name} cannot be closed: it is busy`);
    this.calls.push('close');
    this.#driver.mapped.delete(address);
  }
}
