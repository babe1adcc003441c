import assert from 'node:assert/strict';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, describe, it } from 'node:test';
import { runCommand } from './command.ts';

describe('runCommand()', () => {
  const folder = mkdtempSync(join(tmpdir(), 'aoe-csi-command-'));
  after(() => rmSync(folder, { recursive: true }));
  const options = (name: string) => ({ log: join(folder, name), limitMs: 20_000, signal: new AbortController().signal });

  it('gives exit code and both outputs, and keeps them in the log', async () => {
    const result = await runCommand(['sh', '-c', 'echo out; echo err >&2; exit 3'], options('both'));
    assert.equal(result.code, 3);
    assert.match(result.output, /out/);
    assert.match(result.output, /err/);
    assert.match(readFileSync(join(folder, 'both'), 'utf8'), /^\$ sh -c .*\n(out\nerr|err\nout)\n$/);
  });

  it('gives each line as it comes', async () => {
    const lines: string[] = [];
    await runCommand(['printf', 'a\\nb\\nrest'], { ...options('lines'), onLine: (line) => lines.push(line) });
    assert.deepEqual(lines, ['a', 'b']);
  });

  it('kills what takes too long, with all that it started', async () => {
    const result = await runCommand(['sh', '-c', 'sleep 60 & echo $!; wait'], { ...options('limit'), limitMs: 300 });
    assert.equal(result.code, -1);
    assert.match(result.output, /longer than 0.3 s/);
    // A zombie, which whoever adopted it has yet to collect, has no command line left.
    const path = `/proc/${Number(result.output.split('\n')[0])}/cmdline`;
    assert.equal(existsSync(path) ? readFileSync(path, 'utf8') : '', '');
  });

  it('is killed when the run is interrupted', async () => {
    const result = await runCommand(['sleep', '60'], { ...options('abort'), signal: AbortSignal.timeout(100) });
    assert.equal(result.code, -1);
    assert.match(result.output, /interrupted/);
  });

  it('says when a program is not there', async () => {
    const result = await runCommand(['/no/such/program'], options('missing'));
    assert.equal(result.code, -1);
    assert.match(result.output, /could not be started/);
  });
});
