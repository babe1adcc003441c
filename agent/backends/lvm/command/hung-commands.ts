import type { Exec } from '../../../../run/exec.ts';
import { HungPrograms } from '../../../../run/hung/hung-programs.ts';
import { BackendError } from '../../backend.ts';

/**
 * Starts LVM commands, but none in a volume group while an earlier one of that group hangs: each would hold LVM's locks. run() throws
 * BackendError PoolNotReady then. Its key is the name of the volume group.
 */
export class HungCommands extends HungPrograms {
  constructor(run: Exec, options: { killMs?: number } = {}) {
    super(run, {
      ...options,
      refuse: (group, { program, args, since }, cause) =>
        new BackendError(
          'PoolNotReady',
          `volume group ${group}: command "${program} ${args.at(-1) ?? ''}", started at ${since}, hangs and cannot be killed, so no other is started in ` +
            'this group until it ends: look in the kernel log (dmesg) for a disk of the group that does not answer, and for a suspended device (dmsetup info)',
          { cause },
        ),
    });
  }
}
