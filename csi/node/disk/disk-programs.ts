import { Code, RpcError } from '../../../rpc/status.ts';
import type { Exec } from '../../../run/exec.ts';
import { HungPrograms } from '../../../run/hung/hung-programs.ts';

/** The node of a disk in an argument, such as `if=/dev/etherd/e7.3`, or the name or node of its mapping. */
const DISK = /(?:^|=)(?:\/dev\/etherd\/(e\d+\.\d+)$|(?:\/dev\/mapper\/)?aoe-(e\d+\.\d+)-)/;
/** What is written to the driver's control files. */
const ADDRESS = /^(e\d+\.\d+)\0?$/;

/**
 * Starts programs, and at most one for a disk that does not answer: none for a disk while an earlier one of that disk was killed and has
 * not ended. This also keeps a disk from being used while a program that was given up may still act on it when it answers: mkfs, e2fsck,
 * or the write to /dev/etherd/flush, which removes the disk from under all who have opened it meanwhile.
 */
export class DiskPrograms {
  readonly #programs: HungPrograms;
  /** For programs of all kinds; the disk is recognized by the arguments and the input. */
  readonly exec: Exec;

  constructor(run: Exec, options: { killMs?: number } = {}) {
    const programs = new HungPrograms(run, { ...options, refuse: refusal });
    this.#programs = programs;
    this.exec = (program, args, execOptions) => {
      const address = diskOf(args, execOptions.input);
      return address === undefined ? run(program, args, execOptions) : programs.run(address, program, args, execOptions);
    };
  }

  /** @throws RpcError UNAVAILABLE while a program that was killed still waits for the disk */
  check(address: string): void {
    this.#programs.check(address);
  }
}

function diskOf(args: readonly string[], input: string | undefined): string | undefined {
  for (const arg of args) {
    const [, disk, mapped] = DISK.exec(arg) ?? [];
    const address = disk ?? mapped;
    if (address) return address;
  }
  return ADDRESS.exec(input ?? '')?.[1];
}

function refusal(address: string, { program, args, since }: { program: string; args: readonly string[]; since: string }, cause?: unknown) {
  const message = `disk ${address} does not answer: "${program} ${args.join(' ')}", started at ${since}, hangs and cannot be killed. Nothing is done with the disk until that ends; is the storage node in trouble?`;
  return new RpcError(Code.UNAVAILABLE, message, { cause });
}
