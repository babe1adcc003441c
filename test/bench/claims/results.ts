import type { Spent } from './cpu.ts';
import type { BareLvm } from './lvm.ts';
import type { Subject, Times } from './phases.ts';

export type Column = Subject['name'];

/** One phase of n objects at once, with one subject. */
export interface AtOnce {
  readonly phase: 'pods' | 'claims';
  readonly n: number;
  readonly subject: Column;
  readonly times: Times;
  readonly spent: Spent;
}

/** All that one run measured. */
export interface Results {
  /** Rounds of one pod at a time, by subject. */
  readonly one: Partial<Record<Column, Times[]>>;
  readonly atOnce: AtOnce[];
  /** While nothing was done. */
  idle: Spent;
  /** From the first phase to the last. */
  whole: Spent;
  lvm?: BareLvm;
}
