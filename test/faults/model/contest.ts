import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Disk } from './history.ts';
import type { NodeName } from './plan.ts';

/** What writes during one epoch: the time from one host getting the volume until the next host gets it. */
export interface EpochWriter {
  readonly epoch: number;
  readonly node: NodeName;
}

/** One Exclusive volume that nodes take from one another, and a writer on each node that gets it. */
export abstract class Contest<Writer extends EpochWriter> {
  /** All writers; the last is the holder's. The others do not know that they lost the volume, unless they were ended. */
  protected readonly writers: Writer[] = [];

  get holder(): Writer {
    const holder = this.writers.at(-1);
    if (!holder) throw new Error('no node has had the volume yet');
    return holder;
  }

  writer(epoch: number): Writer {
    const writer = this.writers[epoch - 1];
    if (!writer) throw new Error(`there is no epoch ${epoch}`);
    return writer;
  }

  /** Writes what a person needs to find out what happened: the steps, the disk's content, and what each writer noted. */
  protected keepNotes(folder: string, disk: Disk, steps: readonly string[], notesOf: (writer: Writer) => readonly unknown[]): void {
    mkdirSync(folder, { recursive: true });
    const keep = (name: string, lines: readonly unknown[]) => writeFileSync(join(folder, name), lines.join('\n'));
    for (const writer of this.writers) keep(`epoch-${writer.epoch}-${writer.node}`, notesOf(writer));
    keep('steps', steps);
    keep('disk', disk);
  }
}
