import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

// Where the ledger is follows from the environment, when the module is loaded.
const cache = mkdtempSync(join(tmpdir(), 'aoe-csi-processes-'));
process.env.AOE_CSI_CACHE = cache;
const { RUN } = await import('../paths.ts');
const { isAlive, killRecorded, record } = await import('./processes.ts');

describe('killRecorded()', () => {
  mkdirSync(RUN);
  afterAll(() => rmSync(cache, { recursive: true }));

  function sleeper() {
    const child = spawn('sleep', ['60'], { detached: true, stdio: 'ignore' });
    assert.ok(child.pid);
    return { pid: child.pid, child, ended: once(child, 'exit') };
  }

  it('does nothing when nothing was ever written down', async () => {
    await killRecorded();
  });

  it('ends what was written down, and waits until it has', async () => {
    const { pid, ended } = sleeper();
    record(pid);
    await killRecorded();
    expect(isAlive(pid)).toBe(false);
    expect(await ended).toStrictEqual([null, 'SIGKILL']);
  });

  it('spares a process that has got the number of one that is gone', async () => {
    const { pid, child, ended } = sleeper();
    writeFileSync(join(RUN, 'pids'), `${pid} 1\n`);
    await killRecorded();
    expect(isAlive(pid)).toBe(true);
    child.kill();
    await ended;
  });
});
