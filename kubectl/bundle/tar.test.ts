import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { tarGz } from './tar.ts';

describe('tarGz', () => {
  it('makes an archive that tar reads', () => {
    const long = `${'folder/'.repeat(14)}${'n'.repeat(60)}.txt`;
    const files = [
      { path: 'a.txt', text: 'ä\n' },
      { path: long, text: 'x'.repeat(1024) },
      { path: 'empty', text: '' },
    ];
    const scratch = mkdtempSync(join(tmpdir(), 'tar-'));
    writeFileSync(join(scratch, 'x.tar.gz'), tarGz(files, 1_700_000_000));
    const tar = (...args: string[]) =>
      execFileSync('tar', ['-f', join(scratch, 'x.tar.gz'), ...args], { encoding: 'utf8', env: { ...process.env, TZ: 'UTC' } });
    expect(tar('-tz').trim().split('\n')).toStrictEqual(files.map(({ path }) => path));
    expect(tar('-xzO', 'a.txt')).toBe('ä\n');
    expect(tar('-xzO', long)).toHaveLength(1024);
    expect(tar('-tvz')).toMatch(/^-rw------- 0\/0 +3 2023-11-14 22:13 a\.txt$/m);
    rmSync(scratch, { recursive: true });
  });
});
