// What the programs that run inside the guest with an encrypted disk have in common: the parts of the node plugin that see to one.

import { mappingName } from '../../api/address.ts';
import { DiskPrograms } from '../../csi/node/disk/disk-programs.ts';
import { KernelDriver } from '../../csi/node/disk/kernel-driver.ts';
import { LocalDisk } from '../../csi/node/disk/local-disk.ts';
import { SystemMounter } from '../../csi/node/disk/system-mounter.ts';
import { Cryptsetup } from '../../csi/node/encryption/cryptsetup.ts';
import { SystemFilesystems } from '../../csi/node/filesystem/system-filesystems.ts';
import { exec } from '../../run/exec.ts';

export const UUID = '0b6d1c3e-8f52-4c1f-9d0a-5d1f0c2b7a11';
export const ADDRESS = 'e7.3';
export const DEVICE = `/dev/etherd/${ADDRESS}`;
/** Of its mapping. */
export const name = mappingName(ADDRESS, UUID);

const log = { debug() {}, info() {}, warn() {}, error() {} };
export const programs = new DiskPrograms(exec);
export const encryption = new Cryptsetup(programs.exec);
export const mounter = new SystemMounter(programs.exec);
export const filesystems = new SystemFilesystems(programs.exec);
export const driver = new KernelDriver(programs.exec);
export const disk = new LocalDisk({ driver, encryption, mounter, log, settleMs: 500 }, ADDRESS);

/** `done`, or the code or name of the error that it ended with. */
export const outcomeOf = (work: Promise<unknown>): Promise<unknown> =>
  work.then(
    () => 'done',
    (error: { code?: unknown; name?: string }) => error.code ?? error.name,
  );
