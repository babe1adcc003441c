import type { Cleanness, Instant } from '../backends/backend.ts';
import { LvmCli } from '../backends/lvm/command/cli.ts';
import { LvmLinearBackend } from '../backends/lvm/linear.ts';
import { LvmThinBackend } from '../backends/lvm/thin.ts';
import type { FakeLvm } from './fake-lvm.ts';

const MiB = 1 << 20;

/** When snapshots of tests are taken. */
export const TAKEN_AT = new Date('2026-11-28T08:00:00.000Z');
export const takenAt: Instant = async (make) => {
  await make();
  return TAKEN_AT;
};

/** Linear volumes in the fake group. `wiped` collects the paths that were wiped; with `crash` every wipe fails. */
export function linearBackend(
  fake: FakeLvm,
  {
    pool = 'p1',
    wiped = [],
    crash = false,
    cleanness = 'zeroed',
  }: { pool?: string; wiped?: string[]; crash?: boolean; cleanness?: Cleanness } = {},
): LvmLinearBackend {
  const note = (what: string): void => {
    if (crash) throw new Error('crash');
    wiped.push(what);
  };
  const wiper = {
    wipe: async (path: string): Promise<Cleanness> => {
      note(path);
      return cleanness;
    },
    zero: async (path: string, { from, to }: { from: number; to: number }): Promise<void> => note(`${path} ${from}-${to}`),
  };
  const { group, hasDevice, isClaimed, hasModule } = fake;
  return new LvmLinearBackend({ lvm: new LvmCli(fake.run, 'x'), pool, group, hasDevice, isClaimed, hasModule, wiper });
}

/** Thin volumes in a thin pool of 64 MiB in the fake group. */
export function thinBackend(
  fake: FakeLvm,
  { overprovision, wiped = [] }: { overprovision?: string; wiped?: string[] } = {},
): LvmThinBackend {
  fake.volumes.set('tp', { name: 'tp', bytes: 64 * MiB, tags: [], active: true, layout: 'thin,pool' });
  const lvm = new LvmCli(fake.run, 'x');
  const { group, hasDevice, isClaimed } = fake;
  const wiper = {
    zero: async (path: string, { from, to }: { from: number; to: number }): Promise<void> => {
      wiped.push(`${path} ${from}-${to}`);
    },
  };
  return new LvmThinBackend({ lvm, pool: 'p1', group, hasDevice, isClaimed, thinPool: 'tp', wiper, overprovision });
}
