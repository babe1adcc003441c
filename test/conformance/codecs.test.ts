import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { before, describe, test } from 'node:test';
import fc from 'fast-check';
import { type Decoded, decode } from './decode.ts';
import { hostileFrame } from './frames.ts';

const ROOT = join(import.meta.dirname, '../..');
const RUST = join(ROOT, 'dist/cargo/debug/examples/decode');

function decodeInRust(frames: readonly Uint8Array[]): Decoded[] {
  const input = frames.map((frame) => `${Buffer.from(frame).toString('hex')}\n`).join('');
  const { status, stdout, stderr } = spawnSync(RUST, { input, encoding: 'utf8', timeout: 30_000, maxBuffer: 256 << 20 });
  assert.equal(status, 0, stderr);
  return stdout
    .trimEnd()
    .split('\n')
    .map((line): Decoded => JSON.parse(line));
}

describe('the TypeScript and the Rust codec', () => {
  before(() => {
    execFileSync('cargo', ['build', '--quiet', '--locked', '-p', 'aoe-target', '--example', 'decode'], {
      cwd: ROOT,
      stdio: 'pipe',
      timeout: 900_000,
    });
  });

  test('read and write the same in frames off a hostile wire', () => {
    fc.assert(
      fc.property(fc.array(hostileFrame, { minLength: 1, maxLength: 100, size: 'max' }), (frames) => {
        const theirs = decodeInRust(frames);
        assert.equal(theirs.length, frames.length);
        for (const [index, frame] of frames.entries()) {
          assert.deepEqual(decode(frame), theirs[index], Buffer.from(frame).toString('hex'));
        }
      }),
      { numRuns: 100, interruptAfterTimeLimit: 60_000 },
    );
  });
});
