import { type ExecOptions, type ExecResult, stderrOf } from '../../../run/exec.ts';
import { Semaphore } from '../../../run/semaphore.ts';
import { BackendError } from '../backend.ts';
import { Batch, type Pending } from './command/batch.ts';
import type { LvmCli } from './command/cli.ts';
import { failed } from './command/failed.ts';
import { Turns } from './command/turns.ts';
import { mayBeNearlyFull } from './metadata-area.ts';
import type { LogicalVolume, VolumeGroup } from './report.ts';
import { TAG, TAG_NEW } from './tags.ts';

/** A volume group that is missing is not looked for more often than this, however many volumes ask for it. */
const MISSING_MS = 1_000;
/** How old a report may be by which a volume is removed: LVM would remove a snapshot with it that somebody has made since then. */
const REMOVAL_MS = 1_000;

/** A change of a volume's tags. */
interface Mark {
  volume: LogicalVolume;
  /** Tags to take off, and to put on. */
  off: readonly string[];
  on: readonly string[];
}

/**
 * A volume group on this node, which all pools in it share: its commands run one at a time, and its last report is kept, with
 * our own changes since then. What others change is seen with the next report.
 */
export class LvmGroup {
  readonly name: string;
  readonly #cli: Pick<LvmCli, 'report' | 'change' | 'program'>;
  readonly #turns = new Turns();
  /** By the name of a thin pool: who reads its metadata. */
  readonly #readers = new Map<string, Semaphore>();
  readonly #removals = new Batch<string>(this.#turns, (items) => this.#removeAll(items));
  readonly #marks = new Batch<Mark>(this.#turns, (items) => this.#markAll(items));
  /** The last report without its volumes; `at`: when its command was started. */
  #last: { group: Omit<VolumeGroup, 'volumes'>; at: number } | undefined;
  /** Commands that may have added to LVM's metadata since the last report. */
  #changes = 0;
  /** All volumes of the group by name; undefined after a command that failed, until the next report. */
  #volumes: Map<string, LogicalVolume> | undefined;
  /** The volumes of the last report by name. */
  #reportedVolumes: ReadonlyMap<string, LogicalVolume> = new Map();
  #missing: { error: BackendError; at: number } | undefined;

  constructor(cli: Pick<LvmCli, 'report' | 'change' | 'program'>, name: string) {
    this.#cli = cli;
    this.name = name;
  }

  /** Runs a task in the group's turn. */
  turn<R>(task: () => Promise<R>, signal: AbortSignal): Promise<R> {
    return this.#turns.run(task, { signal });
  }

  /**
   * Runs a task as the only one that uses the metadata snapshot of a thin pool. It may take turns of the group meanwhile.
   * @throws the signal's reason when it is aborted before the task begins
   */
  metadataTurn<R>(thinPool: string, task: () => Promise<R>, signal: AbortSignal): Promise<R> {
    const readers = this.#readers.get(thinPool) ?? new Semaphore(1);
    this.#readers.set(thinPool, readers);
    return readers.run(task, signal);
  }

  /** Runs a program that is not one of LVM's on devices of the group. @throws Error of `Exec`; BackendError PoolNotReady when a command hangs */
  program(program: string, args: readonly string[], options: ExecOptions): Promise<ExecResult> {
    return this.#cli.program(this.name, program, args, options);
  }

  /** A volume by its name, as last reported or changed by us; undefined when there was none, or nothing is known. */
  get(name: string): LogicalVolume | undefined {
    return this.#volumes?.get(name);
  }

  /** A volume as the last report has it, also while the group is reported again: for what a person sets, and we do not change. */
  lastReported(name: string): LogicalVolume | undefined {
    return this.#reportedVolumes.get(name);
  }

  /**
   * The group and its volumes. Waits for the turn only when it must be reported again.
   * @param maxAgeMs how old the report may be; 0: it is made after this call
   * @throws BackendError
   */
  async read(maxAgeMs: number, signal: AbortSignal): Promise<VolumeGroup> {
    const after = performance.now() - maxAgeMs;
    return this.#reported(after) ?? (await this.turn(async () => this.#reported(after) ?? (await this.report(signal)), signal));
  }

  /** As {@link read}. Call it in the group's turn. */
  async readInTurn(maxAgeMs: number, signal: AbortSignal): Promise<VolumeGroup> {
    return this.#reported(performance.now() - maxAgeMs) ?? (await this.report(signal));
  }

  /**
   * Reports the group. Call it in the group's turn.
   * @throws BackendError
   */
  async report(signal?: AbortSignal): Promise<VolumeGroup> {
    this.#volumes = undefined;
    const at = performance.now();
    if (this.#missing && at - this.#missing.at < MISSING_MS) throw this.#missing.error;
    const reported = await this.#cli.report(this.name, signal).catch((error: unknown) => {
      if (error instanceof BackendError && error.reason === 'PoolMissing') this.#missing = { error, at: performance.now() };
      throw error;
    });
    const { volumes, ...group } = reported;
    this.#last = { group, at };
    this.#changes = 0;
    this.#volumes = new Map(volumes.map((volume) => [volume.name, volume]));
    this.#reportedVolumes = new Map(this.#volumes);
    return reported;
  }

  /**
   * Runs a command that changes something; what it changed is to be noted. Call it in the group's turn.
   * @throws Error of `Exec`, BackendError
   */
  async change(command: string, args: string[]): Promise<void> {
    this.#changes++;
    try {
      await this.#cli.change(this.name, command, args);
    } catch (error) {
      this.#volumes = undefined;
      throw error;
    }
  }

  /** Notes that a command of ours has made a volume, or changed it. */
  note(volume: LogicalVolume): void {
    this.#account(this.#volumes?.get(volume.name), 1);
    this.#account(volume, -1);
    this.#volumes?.set(volume.name, volume);
  }

  /**
   * Removes a volume with our mark: with one command for all that wait. It is no error when there is none.
   * @throws BackendError
   */
  remove(name: string, signal: AbortSignal): Promise<void> {
    return this.#removals.add(name, signal);
  }

  /**
   * Changes the tags of a volume: with one command for all that wait for the same change.
   * @returns the volume with its new tags
   * @throws BackendError
   */
  async mark(mark: Mark, signal: AbortSignal): Promise<LogicalVolume> {
    await this.#marks.add(mark, signal);
    return marked(mark);
  }

  /**
   * Why a volume can neither grow nor be removed: LVM would remove its copy-on-write snapshots with it. Undefined when it can, as far as is
   * known.
   */
  snapshotObstacle(name: string): string | undefined {
    const [found] = this.#snapshotsOf(name);
    return (
      found && `logical volume ${this.pathOf(found.name)} is a copy-on-write snapshot of it; the agent removes its own once they are copied`
    );
  }

  /** The copy-on-write snapshots of a volume, as far as is known. */
  #snapshotsOf(name: string): LogicalVolume[] {
    return [...(this.#volumes?.values() ?? [])].filter((volume) => volume.origin === name && volume.pool === undefined);
  }

  /** The path that LVM's commands take. */
  pathOf(name: string): string {
    return `${this.name}/${name}`;
  }

  #reported(after: number): VolumeGroup | undefined {
    if (!this.#volumes || !this.#last || this.#last.at < after) return undefined;
    // How much room for metadata our own changes have left is not known.
    if (this.#changes > 0 && mayBeNearlyFull(this.#last.group, this.#changes)) return undefined;
    return { ...this.#last.group, volumes: [...this.#volumes.values()] };
  }

  /** Space of the group was freed (sign 1) or taken (-1). Where it is not known how much, the group is to be reported again. */
  #account(volume: LogicalVolume | undefined, sign: 1 | -1): void {
    if (!volume || !this.#last) return;
    const { group } = this.#last;
    const isLinear = volume.pool === undefined && volume.layout.join() === 'linear';
    this.#last = isLinear ? { ...this.#last, group: { ...group, free: group.free + sign * volume.bytes } } : { group, at: -Infinity };
  }

  #forget(name: string): void {
    this.#account(this.#volumes?.get(name), 1);
    this.#volumes?.delete(name);
  }

  async #removeAll(all: readonly Pending<string>[]): Promise<void> {
    await this.report();
    await this.#removeLeft(all.map(({ item }) => item));
    const items = all.filter(({ item, done, fail }) => {
      const problem = this.#removalProblem(item);
      if (problem) fail(problem);
      else if (!this.#volumes?.has(item)) done();
      else return true;
      return false;
    });
    if (items.length > 1) {
      try {
        await this.#lvremove(items.map(({ item }) => item));
        for (const { item } of items) this.#forget(item);
        for (const { done } of items) done();
        return;
      } catch {
        // Some may be removed: each of the others is tried by itself, so that each has its own error.
      }
    }
    for (const { item, done, fail } of items) await this.#removeOne(item).then(done, fail);
  }

  /** Removes what a crash has left of snapshots of these volumes. Nothing is made in this turn, and each is made in one. */
  async #removeLeft(names: readonly string[]): Promise<void> {
    const left = names.flatMap((name) => this.#snapshotsOf(name)).filter(({ tags }) => tags.includes(TAG) && tags.includes(TAG_NEW));
    if (left.length === 0) return;
    // One that stays is reported with its volume.
    await this.change('lvremove', ['--select', `lv_tags=${TAG_NEW}`, ...left.map(({ name }) => this.pathOf(name))]).catch(() => {});
    await this.report();
  }

  #removalProblem(name: string): BackendError | undefined {
    const snapshot = this.snapshotObstacle(name);
    return snapshot === undefined
      ? undefined
      : new BackendError('BackingBusy', `logical volume ${this.pathOf(name)} cannot be removed now: ${snapshot}`);
  }

  async #removeOne(name: string): Promise<void> {
    if (!this.#reported(performance.now() - REMOVAL_MS)) await this.report();
    if (!this.#volumes?.has(name)) return;
    const problem = this.#removalProblem(name);
    if (problem) throw problem;
    try {
      await this.#lvremove([name]);
    } catch (error) {
      const doing = `removing logical volume ${this.pathOf(name)}`;
      const { volumes } = await this.report();
      if (!volumes.some((volume) => volume.name === name)) return;
      if (!/in use|used by|busy/i.test(stderrOf(error))) throw failed(doing, error);
      const message = `${doing}: a process on this node still has it open; the removal is tried again`;
      throw new BackendError('BackingBusy', message, { cause: error });
    }
    this.#forget(name);
  }

  /** LVM itself checks the mark: one that an administrator has taken off since the last report is kept. */
  async #lvremove(names: readonly string[]): Promise<void> {
    await this.change('lvremove', ['--select', `lv_tags=${TAG}`, ...names.map((name) => this.pathOf(name))]);
  }

  async #markAll(items: readonly Pending<Mark>[]): Promise<void> {
    const alike = Map.groupBy(items, ({ item: { off, on } }) => JSON.stringify([off, on]));
    for (const group of alike.values()) {
      const [first, ...others] = group;
      if (first && others.length > 0) {
        try {
          await this.#markTogether(first.item, group);
          for (const { done } of group) done();
          continue;
        } catch {
          // The failure may be about one of them: each is tried by itself.
        }
      }
      for (const each of group) {
        await this.#markTogether(each.item, [each]).then(each.done, (error: unknown) =>
          each.fail(failed(`changing the tags of logical volume ${this.pathOf(each.item.volume.name)}`, error)),
        );
      }
    }
  }

  /** Makes the same change to several volumes. */
  async #markTogether({ off, on }: Pick<Mark, 'off' | 'on'>, items: readonly Pending<Mark>[]): Promise<void> {
    const tags = [...off.flatMap((tag) => ['--deltag', tag]), ...on.flatMap((tag) => ['--addtag', tag])];
    await this.change('lvchange', [...tags, ...items.map(({ item }) => this.pathOf(item.volume.name))]);
    for (const { item } of items) this.#volumes?.set(item.volume.name, marked(item));
  }
}

function marked({ volume, off, on }: Mark): LogicalVolume {
  return { ...volume, tags: [...volume.tags.filter((tag) => !off.includes(tag) && !on.includes(tag)), ...on] };
}
