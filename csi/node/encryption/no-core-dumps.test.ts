import { readFileSync } from 'node:fs';
import { exec } from '../../../run/exec.ts';
import { forbidCoreDumps } from './no-core-dumps.ts';

test('neither this process nor a program that it starts leaves a core dump', async () => {
  forbidCoreDumps();
  const line = /^Max core file size\s+1\s+1\s+bytes/m;
  expect(readFileSync('/proc/self/limits', 'utf8')).toMatch(line);
  expect((await exec('cat', ['/proc/self/limits'], { timeoutMs: 5_000 })).stdout).toMatch(line);
});
