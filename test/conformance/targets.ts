import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { WireLab } from '../wire/wire-lab.ts';

export const SHELF = 7;
export const SLOT = 3;
/** More than 65536 sectors, so that three bytes of a sector number count. */
const DISK = 64 << 20;

const ADDRESS = [String(SHELF), String(SLOT)] as const;

/** A way to start a target in a lab as {@link SHELF}.{@link SLOT}; gives the command that restarts it. */
export type StartTarget = (lab: WireLab) => string;

export const OURS = join(import.meta.dirname, '../../dist/cargo/release/aoe-target');

/** Our target with further arguments, and with another size of the disk in bytes. */
export const ours =
  ({ args = [], bytes = DISK }: { args?: string[]; bytes?: number } = {}): StartTarget =>
  (lab) =>
    lab.keepRunning(
      OURS,
      '--interface',
      'target0',
      '--state',
      join(lab.directory, 'state'),
      '--export',
      `${ADDRESS.join('.')}=${lab.disk('disk', bytes)},serial=CONFORMANCE`,
      ...args,
    );

export const startOurs: StartTarget = ours();

export const startVblade: StartTarget = (lab) => lab.keepRunning('vblade', '-b', '128', ...ADDRESS, 'target0', lab.disk('disk', DISK));

/** ggaoed is in no distribution: `program` is where it was built. */
export const startGgaoed =
  (program: string): StartTarget =>
  (lab) => {
    const path = (name: string): string => join(lab.directory, name);
    mkdirSync(path('ggaoed'));
    writeFileSync(
      path('ggaoed.conf'),
      `[defaults]
interfaces = target0
pid-file = ${path('ggaoed.pid')}
control-socket = ${path('ggaoed.sock')}
state-directory = ${path('ggaoed')}
[disk]
path = ${lab.disk('disk', DISK)}
shelf = ${SHELF}
slot = ${SLOT}
`,
    );
    return lab.keepRunning(program, '-d', '-c', path('ggaoed.conf'));
  };
