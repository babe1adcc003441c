import { execFileSync } from 'node:child_process';
import { mkdtempSync, openSync, writeFileSync, writeSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { ZeroReader } from './zero-reader.ts';

const { signal } = new AbortController();
const ALL = [{ start: 0, length: 512 }];

/** A file of zeros, and a pipe that cannot be opened until somebody writes to it. */
function files() {
  const directory = mkdtempSync(join(tmpdir(), 'aoe-zeros-'));
  const zeros = join(directory, 'zeros');
  const silent = join(directory, 'silent');
  writeFileSync(zeros, Buffer.alloc(512));
  execFileSync('mkfifo', [silent]);
  return { zeros, silent };
}

test('while a disk does not answer, no other is read; once it has answered, they are read again', async () => {
  const { zeros, silent } = files();
  const reader = new ZeroReader(50);
  expect(await reader.areZero(silent, ALL, signal)).toBeUndefined();
  expect(await reader.areZero(zeros, ALL, signal)).toBeUndefined();
  writeSync(openSync(silent, 'w'), 'x');
  let answer: boolean | undefined;
  for (let i = 0; i < 100 && answer === undefined; i++) {
    answer = await reader.areZero(zeros, ALL, signal);
    await delay(10);
  }
  expect(answer).toBe(true);
});

test('an abort ends the wait, with its reason', async () => {
  const { silent } = files();
  const stop = new AbortController();
  const answer = new ZeroReader().areZero(silent, ALL, stop.signal);
  stop.abort(new Error('enough'));
  await expect(answer).rejects.toThrow('enough');
  writeSync(openSync(silent, 'w'), 'x');
});
