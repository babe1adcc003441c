import { execFileSync, spawnSync } from 'node:child_process';
import { join } from 'node:path';
import fc from 'fast-check';
import { type Decoded, decode } from './decode.ts';
import { hostileFrame } from './frames.ts';

const ROOT = join(import.meta.dirname, '../..');
const RUST = join(ROOT, 'dist/cargo/debug/examples/decode');

function decodeInRust(frames: readonly Uint8Array[]): Decoded[] {
  const input = frames.map((frame) => `${Buffer.from(frame).toString('hex')}\n`).join('');
  const { status, stdout, stderr } = spawnSync(RUST, { input, encoding: 'utf8', timeout: 30_000, maxBuffer: 256 << 20 });
  expect(status, stderr).toBe(0);
  return stdout
    .trimEnd()
    .split('\n')
    .map((line): Decoded => JSON.parse(line));
}

describe('the TypeScript and the Rust codec', () => {
  beforeAll(() => {
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
        expect(theirs).toHaveLength(frames.length);
        for (const [index, frame] of frames.entries()) {
          expect(decode(frame), Buffer.from(frame).toString('hex')).toStrictEqual(theirs[index]);
        }
      }),
      { numRuns: 100, interruptAfterTimeLimit: 60_000 },
    );
  });
});
