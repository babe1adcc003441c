import { setTimeout as delay } from 'node:timers/promises';
import { SECTOR } from '../../../aoe/wire/ata.ts';
import type { Answered } from '../model/history.ts';
import type { NodeName } from '../model/plan.ts';
import { emitRecord, epochOf, RECORD } from '../model/record.ts';
import { type FakeDisk, type FakeHost, Forgotten, IoError } from './fake-host.ts';

/** As a rule. */
const PAUSE_MS = 3;
/** Before a record is tried again after an error: at once at first, then ever more slowly. */
const FIRST_RETRY_MS = 1;
const LAST_RETRY_MS = 40;
/** A wait for a writer is over after this, whatever is going wrong meanwhile. */
const LIMIT_MS = 180_000;
const PER_RECORD = RECORD / SECTOR;

/**
 * The log's writer of one epoch, as writer.c is on the cluster: it looks for the end and goes on from there, until it is
 * ended. After an error it tries the same record again: its host does not believe that it lost.
 */
export class Writer {
  readonly epoch: number;
  readonly node: NodeName;
  readonly disk: FakeDisk;
  readonly answered: number[] = [];
  /** Between two records. */
  pauseMs = PAUSE_MS;
  /** The first record that had an I/O error, and how many were answered before. */
  #refusal: { position: number; after: number; message: string } | undefined;
  #refused = 0;
  readonly #host: FakeHost;
  readonly #blocks: number;
  readonly #ended = new AbortController();
  readonly #listeners = new Set<() => void>();
  #problem: unknown;

  /** @param bytes size of the disk */
  constructor(host: FakeHost, epoch: number, disk: FakeDisk, bytes: number) {
    this.#host = host;
    this.node = host.name;
    this.epoch = epoch;
    this.disk = disk;
    this.#blocks = Math.floor(bytes / RECORD);
    void this.#run();
  }

  /** Ends it, and takes its requests from the host. */
  end(): void {
    this.#ended.abort();
    this.#host.forget();
  }

  get isEnded(): boolean {
    return this.#ended.signal.aborted;
  }

  /** Waits until so many more records are answered. @throws Error when one of this writer's was ever refused */
  async progress(records = 3): Promise<void> {
    const goal = this.answered.length + records;
    await this.#until(() => this.#refusal !== undefined || this.answered.length >= goal, `${records} more records to be answered`);
    this.neverRefused();
  }

  /** Waits until a record is refused. */
  refused(): Promise<void> {
    return this.#until(() => this.#refusal !== undefined, 'a record to be refused, as the volume is lost');
  }

  /**
   * Waits until records are answered after one that was refused. Several: the first may be on the disk since it had the
   * right, with its answer lost, and is nobody else's place then.
   */
  writesAgain(records = 3): Promise<void> {
    const answered = () => this.#refusal !== undefined && this.answered.length >= this.#refusal.after + records;
    return this.#until(answered, `${records} records to be answered again`);
  }

  /** @throws Error when one was */
  neverRefused(): void {
    if (!this.#refusal) return;
    throw new Error(`${this.#name} had an I/O error while it had the volume: record ${this.#refusal.position}, ${this.#refusal.message}`);
  }

  /** What was answered, for the rules. */
  notes(): Answered[] {
    return this.answered.map((position) => ({ epoch: this.epoch, position }));
  }

  get #name(): string {
    return `the writer of epoch ${this.epoch} on ${this.node}`;
  }

  async #run(): Promise<void> {
    try {
      for (let position = await this.#findEnd(); position < this.#blocks; ) {
        const answered = await this.#write(position);
        if (answered) position++;
        await this.#pause(answered ? this.pauseMs : this.#retryMs());
      }
      throw new Error(`${this.#name} has filled the disk`);
    } catch (error) {
      if (!this.isEnded) this.#problem = error;
    } finally {
      this.#notify();
    }
  }

  async #write(position: number): Promise<boolean> {
    try {
      await this.#host.write(this.disk, position * PER_RECORD, emitRecord(this.epoch, position));
    } catch (error) {
      if (!(error instanceof IoError)) throw error;
      this.#refuse(position, error);
      return false;
    }
    this.answered.push(position);
    this.#notify();
    return true;
  }

  async #pause(ms: number): Promise<void> {
    await delay(ms, undefined, { signal: this.#ended.signal });
  }

  #retryMs(): number {
    return Math.min(FIRST_RETRY_MS + this.#refused / 10, LAST_RETRY_MS);
  }

  async #findEnd(): Promise<number> {
    let [low, high] = [0, this.#blocks];
    while (low < high) {
      const middle = Math.floor((low + high) / 2);
      if ((await this.#read(middle)) === undefined) high = middle;
      else low = middle + 1;
    }
    return low;
  }

  async #read(position: number): Promise<number | undefined> {
    for (;;) {
      this.#ended.signal.throwIfAborted();
      try {
        return epochOf(await this.#host.read(this.disk, position * PER_RECORD, PER_RECORD), position);
      } catch (error) {
        if (!(error instanceof IoError)) throw error;
        this.#refuse(position, error);
        await this.#pause(this.#retryMs());
      }
    }
  }

  #refuse(position: number, error: Error): void {
    this.#refused++;
    this.#refusal ??= { position, after: this.answered.length, message: error.message };
    this.#notify();
  }

  #notify(): void {
    for (const listener of this.#listeners) listener();
  }

  async #until(isSo: () => boolean, what: string): Promise<void> {
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const look = (): void => {
      if (isSo()) resolve();
      else if (this.#problem !== undefined) reject(this.#problem);
      else if (this.isEnded) reject(new Forgotten(`${this.#name} was ended`));
    };
    const limit = setTimeout(() => reject(new Error(`waited ${LIMIT_MS / 1000} s for ${this.#name}: ${what}`)), LIMIT_MS);
    this.#listeners.add(look);
    try {
      look();
      await promise;
    } finally {
      clearTimeout(limit);
      this.#listeners.delete(look);
    }
  }
}
