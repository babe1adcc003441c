import { join } from 'node:path';
import { DRIVER_NAME } from '../../../api/meta.ts';
import type { Log } from '../../../kube/mod.ts';
import { exec } from '../../../run/exec.ts';
import { SystemMounter } from '../disk/system-mounter.ts';
import { registerFreezes } from '../upkeep/metrics.ts';
import { SystemFreezer } from './freezer.ts';
import { FreezeFiles } from './records.ts';
import { FreezeSessions } from './sessions.ts';

/** The longest limit of a freeze that can be set, in milliseconds. */
export const MOST_FREEZE_MS = 60_000;

/** The freezes of this node, with their records in the plugin's directory: once in a process. */
export function createFreezes({ kubeletPath, limitMs, log }: { kubeletPath: string; limitMs: number; log: Log }): FreezeSessions {
  return new FreezeSessions({
    freezer: new SystemFreezer(exec, new SystemMounter(exec)),
    records: new FreezeFiles(join(kubeletPath, 'plugins', DRIVER_NAME, 'frozen')),
    limitMs,
    frozenFor: registerFreezes(),
    log,
  });
}
