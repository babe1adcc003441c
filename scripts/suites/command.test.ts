import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { runCommand } from './command.ts';

describe('runCommand()', () => {
  const folder = mkdtempSync(join(tmpdir(), 'aoe-csi-command-'));
  afterAll(() => rmSync(folder, { recursive: true }));
  const options = (name: string) => ({ log: join(folder, name), limitMs: 20_000, signal: new AbortController().signal });

  it('gives exit code and both outputs, and keeps them in the log', async () => {
    const result = await runCommand(['sh', '-c', 'echo out; echo err >&2; exit 3'], options('both'));
    expect(result.code).toBe(3);
    expect(result.output).toMatch(/out/);
    expect(result.output).toMatch(/err/);
    expect(readFileSync(join(folder, 'both'), 'utf8')).toMatch(/^\$ sh -c .*\n(out\nerr|err\nout)\n$/);
  });

  it('gives each line as it comes', async () => {
    const lines: string[] = [];
    await runCommand(['printf', 'a\\nb\\nrest'], { ...options('lines'), onLine: (line) => lines.push(line) });
    expect(lines).toStrictEqual(['a', 'b']);
  });

  it('kills what takes too long, with all that it started', async () => {
    const result = await runCommand(['sh', '-c', 'sleep 60 & echo $!; wait'], { ...options('limit'), limitMs: 300 });
    expect(result.code).toBe(-1);
    expect(result.output).toMatch(/longer than 0.3 s/);
    // A zombie that its new parent has not collected yet has no command line.
    const path = `/proc/${Number(result.output.split('\n')[0])}/cmdline`;
    expect(existsSync(path) ? readFileSync(path, 'utf8') : '').toBe('');
  });

  it('is killed when the run is interrupted', async () => {
    const result = await runCommand(['sleep', '60'], { ...options('abort'), signal: AbortSignal.timeout(100) });
    expect(result.code).toBe(-1);
    expect(result.output).toMatch(/interrupted/);
  });

  it('says when a program is not there', async () => {
    const result = await runCommand(['/no/such/program'], options('missing'));
    expect(result.code).toBe(-1);
    expect(result.output).toMatch(/could not be started/);
  });
});
