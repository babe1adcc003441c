import fc from 'fast-check';
import { FakeLvm } from '../../testing/fake-lvm.ts';
import type { Backend } from '../backend.ts';
import { createEmpty } from '../create-empty.ts';
import { LvmCli } from './command/cli.ts';
import { LvmLinearBackend } from './linear.ts';
import { LvmThinBackend } from './thin.ts';
import type { Wiper } from './wipe.ts';

const { signal } = new AbortController();
const MiB = 1 << 20;
const UID = 'u-1';

/** What an extent of the volume holds. */
type Cell = 'data' | 'tail' | 'others' | 'zero';

/** A volume whose content is known, an extent at a time. LVM's commands and the zeroing end at any point. */
class Disk {
  readonly lvm = new FakeLvm();
  readonly cells: Cell[] = [];
  /** The zeroing ends after so many extents. */
  zeroesAtMost = Number.POSITIVE_INFINITY;
  readonly #isThin: boolean;

  constructor(isThin: boolean) {
    this.#isThin = isThin;
    this.lvm.size = 400 * this.lvm.extent;
    this.lvm.volumes.set('tp', { name: 'tp', bytes: 800 * MiB, tags: [], active: true, layout: 'thin,pool' });
  }

  /** The backend of a process that has just been started. */
  backend(): Backend {
    const { group, hasDevice, isClaimed, run } = this.lvm;
    const zero: Wiper['zero'] = async (_path, { from, to }, { onZeroed }) => {
      this.#follow();
      const { extent } = this.lvm;
      for (let at = from / extent; at < to / extent; at++) {
        if (this.zeroesAtMost-- <= 0) throw new Error('crash');
        this.cells[at] = 'zero';
        await onZeroed((at + 1) * extent);
      }
    };
    const wipe: Wiper['wipe'] = async (path, bytes, { from, ...options }) => {
      await zero(path, { from, to: bytes }, options);
      return 'zeroed';
    };
    const options = { lvm: new LvmCli(run, 'x'), pool: 'p1', group, hasDevice, isClaimed, wiper: { zero, wipe } };
    return this.#isThin ? new LvmThinBackend({ ...options, thinPool: 'tp' }) : new LvmLinearBackend(options);
  }

  /** Blocks that a thick volume gets were another volume's. */
  #follow(): void {
    const { bytes = 0 } = this.lvm.volumes.get(`aoe-${UID}`) ?? {};
    while (this.cells.length * this.lvm.extent < bytes) this.cells.push(this.#isThin ? 'zero' : 'others');
  }

  /** What may be exported, and the rest of the volume. */
  async parts(): Promise<{ bytes: number; isSettled: boolean; exported: Cell[]; rest: Cell[] }> {
    this.#follow();
    const volume = await this.backend().open(UID, signal);
    if (!volume) throw new Error('there is no volume');
    const count = volume.bytes / this.lvm.extent;
    const isSettled = volume.extended === undefined && !this.lvm.volumes.get(`aoe-${UID}`)?.tags.join().includes('clean=');
    return { bytes: volume.bytes, isSettled, exported: this.cells.slice(0, count), rest: this.cells.slice(count) };
  }

  /** Hosts fill what is exported, and a mirror fills the tail. */
  write(bytes: number, isSettled: boolean): void {
    const count = bytes / this.lvm.extent;
    this.cells.fill('data', 0, count);
    if (isSettled) this.cells.fill('tail', count);
  }
}

const step = fc.record({
  /** Mebibytes that it grows by. */
  by: fc.integer({ min: 1, max: 30 }),
  crashAt: fc.option(fc.integer({ min: 1, max: 4 }), { nil: undefined }),
  when: fc.constantFrom('before' as const, 'after' as const),
  zeroes: fc.option(fc.integer({ min: 0, max: 6 }), { nil: undefined }),
});

for (const kind of ['linear', 'thin'] as const) {
  test(`whatever a growth ends at, a ${kind} volume exports neither an old tail nor old data, and never less than before`, async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(step, { minLength: 1, maxLength: 5 }), async (steps) => {
        const disk = new Disk(kind === 'thin');
        await createEmpty(disk.backend(), { uid: UID, name: 'pvc-1', bytes: 10 * MiB, tail: true }, signal);
        let { bytes } = await disk.parts();
        expect(bytes).toBe(12 * MiB);
        disk.write(bytes, true);
        for (const { by, crashAt, when, zeroes } of steps) {
          const wanted = bytes + by * MiB;
          disk.lvm.crashAtChange(crashAt, when);
          disk.zeroesAtMost = zeroes ?? Number.POSITIVE_INFINITY;
          const grown = await disk
            .backend()
            .growth?.grow(UID, wanted, signal)
            .catch(() => undefined);
          disk.lvm.crashAtChange(undefined);
          disk.zeroesAtMost = Number.POSITIVE_INFINITY;
          const now = await disk.parts();
          expect(now.bytes).toBeGreaterThanOrEqual(grown ? wanted : bytes);
          expect(now.exported.slice(0, bytes / disk.lvm.extent).every((cell) => cell === 'data')).toBe(true);
          expect(now.exported.slice(bytes / disk.lvm.extent).every((cell) => cell === 'zero')).toBe(true);
          if (now.isSettled) {
            expect(now.rest).toHaveLength(1);
            expect(now.rest).not.toContain('others');
          }
          ({ bytes } = now);
          disk.write(bytes, now.isSettled);
        }
      }),
      { numRuns: 100 },
    );
  });
}
