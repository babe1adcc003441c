import { addressOfMapping } from '../../../api/address.ts';
import { Code, RpcError } from '../../../rpc/status.ts';
import type { Content, Disk, Filesystems, FilesystemUsage } from '../contracts.ts';
import type { FakeSegment, FakeTarget } from './fakes.ts';

export class FakeFilesystems implements Filesystems {
  readonly #segment: FakeSegment;
  readonly calls: string[] = [];
  /** Makes the next format fail, after it has written something. */
  failFormat = false;

  constructor(segment: FakeSegment) {
    this.#segment = segment;
  }

  /** What is on a disk, or in plain text in its mapping. */
  #target(path: string): Pick<FakeTarget, 'content' | 'blank' | 'bytes'> {
    const mapped = addressOfMapping(path);
    const [target] = this.#segment.at(mapped ?? path.replace('/dev/etherd/', ''));
    const found = mapped === undefined ? target : target?.luks?.inside;
    if (!found) throw new RpcError(Code.INTERNAL, `${path} cannot be read`);
    return found;
  }

  async probe(path: string): Promise<Content> {
    return this.#target(path).content;
  }
  async isBlank({ path }: Disk): Promise<boolean> {
    const { blank, content } = this.#target(path);
    return blank && content.kind === 'nothing';
  }
  async format({ path }: Disk, type: string): Promise<void> {
    this.calls.push(`format ${type}`);
    const target = this.#target(path);
    target.blank = false;
    if (this.failFormat) {
      this.failFormat = false;
      throw new RpcError(Code.INTERNAL, 'mkfs failed');
    }
    target.content = { kind: 'found', type };
  }
  async check(_path: string, type: string): Promise<void> {
    this.calls.push(`check ${type}`);
  }
  /** Sizes of file systems, by path of their disk; absent: they fill it. */
  readonly sizes = new Map<string, number>();
  /** The next growth of a file system throws it. */
  failGrow: Error | undefined;

  async size(path: string): Promise<number | undefined> {
    return this.sizes.get(path) ?? this.#target(path).bytes;
  }
  async grow({ device, type }: { device: string; type: string }): Promise<void> {
    this.calls.push(`grow ${type}`);
    if (this.failGrow) throw this.failGrow;
    this.sizes.delete(device);
  }
  async usage(): Promise<FilesystemUsage> {
    return { bytes: { total: 100, used: 40, available: 60 }, inodes: { total: 10, used: 4, available: 6 } };
  }
}
