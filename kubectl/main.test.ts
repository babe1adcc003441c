import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { volume } from './testing/objects.ts';

describe('the program', () => {
  const scratch = mkdtempSync(join(tmpdir(), 'main-'));
  afterAll(() => rmSync(scratch, { recursive: true }));
  const env = { ...process.env, PATH: `${scratch}:${process.env.PATH}` };
  /** More than a pipe holds, and than Node.js takes by default. */
  const options = { env, encoding: 'utf8', maxBuffer: 1 << 26 } as const;
  const program = [process.execPath, join(import.meta.dirname, 'main.ts'), 'locks', '-o', 'json'];

  beforeAll(() => {
    const items = Array.from({ length: 4000 }, (_, index) => volume(`pvc-${index}`));
    writeFileSync(join(scratch, 'volumes.json'), JSON.stringify({ items }));
    const script = `case "$3" in *aoevolumes*) cat ${join(scratch, 'volumes.json')} ;; *) echo '{"items":[]}' ;; esac`;
    writeFileSync(join(scratch, 'kubectl'), `#!/bin/sh\n${script}\n`, { mode: 0o755 });
  });

  it('says nothing when whoever reads its output has enough', () => {
    const command = '{ "$@" 2>&3; echo "status $?" >&3; } 3>&2 | head -c 1';
    const { stdout, stderr } = spawnSync('sh', ['-c', command, 'sh', ...program], options);
    expect({ stdout, stderr }).toStrictEqual({ stdout: '{', stderr: 'status 0\n' });
  });

  it('fails in one line when its output cannot be written', () => {
    const { status, stderr } = spawnSync('sh', ['-c', '"$@" > /dev/full', 'sh', ...program], options);
    expect({ status, stderr }).toStrictEqual({ status: 1, stderr: 'kubectl aoe: ENOSPC: no space left on device, write\n' });
  });

  it('gives all of its output to a pipe', () =>
    expect(JSON.parse(execFileSync('sh', ['-c', '"$@" | cat', 'sh', ...program], options)).locks).toHaveLength(4000));
});
