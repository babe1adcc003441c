import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { COMMANDS } from '../command-line.ts';
import { completionScript } from './completion.ts';

describe('completion', () => {
  const scratch = mkdtempSync(join(tmpdir(), 'completion-'));
  afterAll(() => rmSync(scratch, { recursive: true }));

  beforeAll(() => {
    const script =
      'case "$2" in aoevolumes*) printf "aoevolume.aoe.dev/pvc-1\\naoevolume.aoe.dev/other\\n";; *) echo aoenode.aoe.dev/n1;; esac';
    writeFileSync(join(scratch, 'kubectl'), `#!/bin/sh\n${script}\n`, { mode: 0o755 });
  });

  /** What bash offers behind these words, the last of which is being typed. */
  function offered(...words: string[]): string[] {
    const list = words.map((word) => `'${word}'`).join(' ');
    const script = `${completionScript('bash')}\nCOMP_WORDS=(${list}); COMP_CWORD=${words.length - 1}; _kubectl_with_aoe; [[ \${#COMPREPLY[@]} == 0 ]] || printf '%s\\n' "\${COMPREPLY[@]}"`;
    const env = { ...process.env, PATH: `${scratch}:${process.env.PATH}` };
    return execFileSync('bash', ['--norc', '-c', script], { encoding: 'utf8', env }).split('\n').filter(Boolean);
  }

  it('offers in bash commands, flags, volumes and nodes', () => {
    expect(offered('kubectl', 'aoe', '')).toStrictEqual(Object.keys(COMMANDS));
    expect(offered('kubectl', 'aoe', 'br')).toStrictEqual(['break-lock']);
    expect(offered('kubectl', 'aoe', 'trace', '--s')).toStrictEqual(['--seconds=', '--snap=']);
    expect(offered('kubectl', 'aoe', 'get', 'pvc')).toStrictEqual(['pvc-1']);
    expect(offered('kubectl', 'aoe', 'check', '')).toStrictEqual(['node']);
    expect(offered('kubectl', 'aoe', 'check', 'node', '')).toStrictEqual(['n1']);
    expect(offered('kubectl', 'get', '')).toStrictEqual([]);
  });

  const hasZsh = spawnSync('zsh', ['--version']).status === 0;
  it.skipIf(hasZsh ? undefined : 'zsh is not installed')('is read by zsh', () => {
    execFileSync('zsh', ['-f', '-n', '-c', completionScript('zsh')]);
  });

  it('knows no other shell', () => expect(() => completionScript('fish')).toThrow('write bash or zsh'));
});
