import { closeSync, copyFileSync, mkdirSync, mkdtempSync, openSync, readdirSync, readFileSync, readSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { crossCargo } from '../../scripts/release/cross-build.ts';
import { countCargo } from '../../scripts/suites/cargo.ts';
import { ROOT } from '../testbed/paths.ts';
import { run, sh } from '../testbed/process/shell.ts';

const LIMIT_MS = 7_200_000;
const OUT = join(ROOT, 'dist/release');
const json = (path: string) => JSON.parse(readFileSync(path, 'utf8'));

/** Programs of the image, an option with which each says what it is, and a word of that. */
const PROGRAMS: readonly [command: string, says: string][] = [
  ['/usr/bin/aoe-target --version', 'aoe-target'],
  ['/usr/bin/aoe-copier --version', 'aoe-copier'],
  ['/usr/bin/node /app/operator.js --help', '--shelves'],
  ['/usr/bin/node /app/agent.js --help', '--node'],
  ['/usr/bin/node /app/csi.js --help', '--endpoint'],
  ['/usr/bin/node /app/crds.js --help', '--directory'],
  ['/sbin/lvm version', 'LVM version'],
  ['/usr/sbin/thin_check -V', '0.9'],
  ['/usr/sbin/thin_delta -V', '0.9'],
  ['/sbin/cryptsetup --version', 'cryptsetup'],
  ['/sbin/blkid -V', 'libblkid'],
  ['/bin/mount -V', 'libmount'],
  ['/bin/umount -V', 'libmount'],
  ['/sbin/fsfreeze -V', 'util-linux'],
  ['/bin/ip -V', 'iproute2'],
  ['/sbin/modprobe -V', 'kmod'],
  ['/bin/dd --version', 'coreutils'],
  ['/usr/sbin/xfs_io -V', 'xfs_io'],
];

/** Unit tests that write with pwritev2(), which qemu-user 7.2 lacks, and simulations that take minutes in it. */
const NOT_IN_EMULATOR = [
  'a_disk_that_has_failed_to_punch',
  'what_cannot_be_discarded',
  'reads_and_writes_of_any_sectors',
  'limit::simulation',
];

/** elf.h */
const EM_AARCH64 = 183;

/** The architecture of a program or library: e_machine of its ELF header, or nothing if it has none. */
function machineOf(path: string): number | undefined {
  const file = openSync(path, 'r');
  try {
    const header = Buffer.alloc(20);
    readSync(file, header);
    return header.toString('latin1', 0, 4) === '\x7fELF' ? header.readUInt16LE(18) : undefined;
  } finally {
    closeSync(file);
  }
}

/** Minutes of compiling: not in `make test`, but in `make test-long`. */
describe.skipIf(process.env.ARM64 ? false : 'set ARM64=1: it compiles for minutes')('a release for arm64 that is built on amd64', () => {
  const scratch = mkdtempSync(join(tmpdir(), 'aoe-csi-arm64-'));
  const root = join(scratch, 'root');
  /** Runs a program of the image for arm64 under qemu-user, and gives its output. */
  const inside = (command: string) =>
    sh(`env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin "$(command -v chroot)" '${root}' /emulator ${command} 2>&1`);

  beforeAll(async () => {
    await run('make', ['-C', ROOT, 'release', 'PLATFORMS=amd64 arm64'], { timeoutMs: LIMIT_MS });
    const layout = join(scratch, 'image');
    const blob = (digest: string) => join(layout, 'blobs', digest.replace(':', '/'));
    mkdirSync(root);
    sh(`mkdir '${layout}' && tar -C '${layout}' -xf '${OUT}'/*.oci.tar`);
    const { manifests } = json(blob(json(join(layout, 'index.json')).manifests[0].digest));
    const arm64 = manifests.find(({ platform }: { platform: { architecture: string } }) => platform.architecture === 'arm64');
    for (const { digest } of json(blob(arm64.digest)).layers) sh(`tar -C '${root}' -xzf '${blob(digest)}'`);
    copyFileSync('/usr/bin/qemu-aarch64-static', join(root, 'emulator'));
  }, LIMIT_MS);
  afterAll(() => rmSync(scratch, { recursive: true, force: true }));

  it('has nothing of another architecture in that image', () => {
    const files = readdirSync(root, { recursive: true, withFileTypes: true }).filter(
      (entry) => entry.isFile() && entry.name !== 'emulator',
    );
    const machines = files.map(({ parentPath, name }) => machineOf(join(parentPath, name))).filter((machine) => machine !== undefined);
    expect(machines.length).toBeGreaterThan(100);
    expect(new Set(machines)).toStrictEqual(new Set([EM_AARCH64]));
  });

  it('has programs that start', () => {
    for (const [command, says] of PROGRAMS) expect(inside(command), command).toContain(says);
  }, 300_000);

  it('has a koffi that calls the C library', () => {
    const script =
      'const { default: koffi } = await import("/app/node_modules/koffi/index.js"); console.log(koffi.load(null).func("int getpid()")() === process.pid, process.arch)';
    expect(inside(`/usr/bin/node --input-type=module -e '${script}'`)).toContain('true arm64');
  });

  it.each(['ext4', 'xfs'])('makes a file system that this machine finds whole: %s', (type) => {
    sh(`rm -f '${root}/disk' && truncate -s 512M '${root}/disk'`);
    inside(`/sbin/mkfs.${type} -q /disk`);
    sh(type === 'xfs' ? `xfs_repair -n '${root}/disk' 2>&1` : `e2fsck -fn '${root}/disk' 2>&1`);
  });

  it('has a bill of materials for each platform', () => {
    const purls = ['amd64', 'arm64'].map((architecture) => {
      const [path] = sh(`ls '${OUT}'/*-linux-${architecture}.cdx.json`).trim().split('\n');
      return json(path ?? '').components.map(({ purl }: { purl: string }) => purl) as string[];
    });
    expect(purls[0]?.some((purl) => purl.endsWith('?arch=amd64'))).toBe(true);
    expect(purls[1]?.some((purl) => purl.endsWith('?arch=arm64'))).toBe(true);
    expect(purls[1]?.some((purl) => purl.endsWith('?arch=amd64') || purl.includes('linux-x64'))).toBe(false);
  });

  it(
    'has a target and a copier whose unit tests pass in the emulator',
    async () => {
      const skipped = NOT_IN_EMULATOR.flatMap((name) => ['--skip', name]);
      const { output } = await crossCargo('arm64', ['test', '--lib', '--test', 'codec', '--', ...skipped]);
      const { passed, failed } = countCargo(output);
      expect(failed).toBe(0);
      expect(passed).toBeGreaterThan(100);
    },
    LIMIT_MS,
  );
});
