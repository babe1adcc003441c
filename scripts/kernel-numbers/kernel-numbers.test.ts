import { execFileSync, spawnSync } from 'node:child_process';
import { constantIn, constantsAsC } from './kernel-numbers.ts';

/** `make test` installs it on x86-64, with libc6-dev-arm64-cross. `make check` alone does not: then only this machine's numbers are compared. */
const CROSS = 'aarch64-linux-gnu-gcc';
const hasCross = spawnSync(CROSS, ['--version']).status === 0;
const compile = (program: string, compiler = 'gcc') =>
  execFileSync(compiler, ['-fsyntax-only', '-x', 'c', '-'], { input: program, encoding: 'utf8', stdio: ['pipe', 'pipe', 'pipe'] });

describe("numbers of the kernel's interfaces in our sources", () => {
  it("are those of this machine's headers", () => {
    compile(constantsAsC());
  });

  (hasCross ? it : it.skip)('are those of the headers of arm64', () => {
    compile(constantsAsC(), CROSS);
  });

  it('are compared: a wrong one is found', () => {
    expect(() => compile(constantsAsC().replace('0x1000 == MS_BIND', '0x1001 == MS_BIND'))).toThrow('csi/node/disk/syscalls.ts: MS_BIND');
  });

  it('are read from TypeScript and from Rust', () => {
    expect(constantIn('a.ts', 'const A = 1;\nconst B = 0o20_00;\n', 'B')).toBe('02000');
    expect(constantIn('a.rs', 'const C: libc::c_ulong = 0x8008_1272;\n', 'C')).toBe('0x80081272');
    expect(() => constantIn('a.ts', 'const A = 1;', 'Z')).toThrow('a.ts has no constant Z');
  });
});
