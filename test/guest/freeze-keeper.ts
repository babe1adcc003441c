// A node plugin as far as freezes are concerned: freeze-inside.ts starts it and kills it. Arguments: directory of its records, limit in
// milliseconds, and a device to freeze, or nothing.

import { SystemMounter } from '../../csi/node/disk/system-mounter.ts';
import { SystemFreezer } from '../../csi/node/freeze/freezer.ts';
import { FreezeFiles } from '../../csi/node/freeze/records.ts';
import { FreezeSessions } from '../../csi/node/freeze/sessions.ts';
import { exec } from '../../run/exec.ts';

const [directory = '', limitMs = '', device] = process.argv.slice(2);
const log = { debug() {}, info() {}, warn() {}, error() {} };
const freezer = new SystemFreezer(exec, new SystemMounter(exec));
const sessions = new FreezeSessions({ freezer, records: new FreezeFiles(directory), limitMs: Number(limitMs), log });
await sessions.recover(new AbortController().signal);
process.stdout.write('recovered\n');
if (device !== undefined) {
  await sessions.freeze('v1', 'f1', device);
  process.stdout.write('frozen\n');
}
setInterval(() => {}, 1_000);
