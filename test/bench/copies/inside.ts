// Runs as root inside the guest: copies a disk on the segment to a device of the guest with the copier, and prints what it took, as JSON.
//   node inside.ts PROGRAM SOURCE-SLOT SERIAL DESTINATION BYTES BYTES-PER-SECOND
import { spawn } from 'node:child_process';
import { readFile, rm } from 'node:fs/promises';
import { setTimeout as delay } from 'node:timers/promises';
import type { CopyState } from '../../../agent/copier/api.ts';
import { GrpcCopier } from '../../../agent/copier/grpc.ts';

/** The guest has one CPU: who asks more often, slows the copy down. */
const POLL_MS = 50;
const LIMIT_MS = 120_000;
const [program = '', slot, serial = '', path = '', size, speed] = process.argv.slice(2);
const socket = '/tmp/copier.sock';
const state = '/tmp/copier-state';
const bytes = Number(size);
const signal = AbortSignal.timeout(LIMIT_MS);

await rm(state, { recursive: true, force: true });
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
const source = { kind: 'aoe' as const, shelf: 7, slot: Number(slot), serial, interfaces: ['vec0'] };
const begun = performance.now();
await copier.start(
  { id: 'bench', volume: 'bench', source, destination: { path, zeroed: false }, bytes, bytesPerSecond: Number(speed) },
  signal,
);
await until(({ copied }) => copied >= bytes);
const copied = performance.now();
await until(({ phase }) => phase === 'verified');
const verified = performance.now();
const peak = /^VmHWM:\s+(\d+) kB$/m.exec(await readFile(`/proc/${child.pid}/status`, 'utf8'))?.[1];
console.log(JSON.stringify({ copyMs: copied - begun, verifyMs: verified - copied, peakKiB: Number(peak) }));
process.exit(0);
