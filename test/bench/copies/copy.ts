// Runs as root in the guest, or on the host in the network namespace of the segment: copies a disk on the segment to a device or file with
// the copier, and prints what it took, as JSON. With a last argument it copies again and again until it is killed, and asks seldom.
//   node copy.ts PROGRAM INTERFACE SOURCE-SLOT SERIAL DESTINATION BYTES BYTES-PER-SECOND [again]
import { spawn } from 'node:child_process';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import type { CopyState } from '../../../agent/copier/api.ts';
import { GrpcCopier } from '../../../agent/copier/grpc.ts';

const LIMIT_MS = 120_000;
const [program = '', network = '', slot, serial = '', path = '', size, speed, again] = process.argv.slice(2);
/** The guest has one CPU: who asks more often, slows the copy down. */
const POLL_MS = again === undefined ? 50 : 1_000;
const folder = await mkdtemp(join(tmpdir(), 'copy-'));
const [socket, state] = [join(folder, 'socket'), join(folder, 'state')];
const bytes = Number(size);
const signal = AbortSignal.timeout(LIMIT_MS);

const child = spawn(program, ['--state', state, '--socket', socket, '--with-parent'], { stdio: 'ignore' });
const copier = new GrpcCopier(socket);

async function until(isDone: (now: CopyState) => boolean): Promise<void> {
  for (;;) {
    const now = await copier.get('bench', signal);
    if (now?.problem) throw new Error(now.problem);
    if (now && isDone(now)) return;
    await delay(POLL_MS, undefined, { signal });
  }
}

for (;;) {
  if ((await copier.list(signal).catch(() => undefined)) !== undefined) break;
  await delay(POLL_MS, undefined, { signal });
}
const source = { kind: 'aoe' as const, shelf: 7, slot: Number(slot), serial, interfaces: [network] };
const job = { id: 'bench', volume: 'bench', source, destination: { path, zeroed: false }, bytes, bytesPerSecond: Number(speed) };
while (again !== undefined) {
  await copier.start(job, signal);
  await until(({ phase }) => phase === 'verified');
  await copier.remove(job.id, signal);
}
const begun = performance.now();
await copier.start(job, signal);
await until(({ copied }) => copied >= bytes);
const copied = performance.now();
await until(({ phase }) => phase === 'verified');
const verified = performance.now();
const peak = /^VmHWM:\s+(\d+) kB$/m.exec(await readFile(`/proc/${child.pid}/status`, 'utf8'))?.[1];
console.log(JSON.stringify({ copyMs: copied - begun, verifyMs: verified - copied, peakKiB: Number(peak) }));
await rm(folder, { recursive: true });
process.exit(0);
