// What is in our image for an architecture that is not this machine's: Node.js and koffi from npm, and the Rust programs, built here with
// Debian's compilers.
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { cached } from '../../test/testbed/cache.ts';
import { type Architecture, HERE, koffiPackage, NAMES, type Parts } from '../../test/testbed/image/platform.ts';
import { keyOf, ROOT } from '../../test/testbed/paths.ts';
import { run, sh } from '../../test/testbed/process/shell.ts';

/** With tokio and tonic it takes minutes, and more on a busy machine. */
const BUILD_LIMIT_MS = 3_600_000;
const MODULES = join(ROOT, 'node_modules');

/** Brings all that is needed to build for an architecture, and builds it. @throws Error when it cannot be done on this machine */
export async function crossParts(architecture: Architecture): Promise<Parts> {
  const { node, gnu } = NAMES[architecture];
  const { folder } = await crossCargo(architecture, ['build', '--release']);
  return {
    architecture,
    node: join(await npmPackage(`node-linux-${node}`, versionOf('node')), 'bin/node'),
    koffi: await npmPackage(koffiPackage(architecture), versionOf('koffi')),
    programs: join(folder, 'release'),
    strip: `${gnu}-linux-gnu-strip`,
    emulator: `/usr/bin/qemu-${gnu}-static`,
  };
}

/**
 * Runs a command of cargo for target and copier on another architecture: tests run in an emulator. The compiler is Debian's, because Debian
 * has its standard library for each architecture, too: that is unpacked beside, and the machine's packages stay those of its own.
 * @returns the output, and the folder of what was built
 */
export async function crossCargo(architecture: Architecture, command: readonly string[]): Promise<{ output: string; folder: string }> {
  if (HERE !== 'amd64' || architecture !== 'arm64') throw new Error(`on ${HERE}, nothing can be built for ${architecture}`);
  sh(`'${ROOT}/scripts/prerequisites' ${architecture} >&2`);
  const { gnu } = NAMES[architecture];
  const version = sh(`dpkg-query --show --showformat '\${Version}' rustc-web`);
  const library = await cached(`rust-${architecture}`, keyOf([], version), (made) => {
    sh(`'${import.meta.dirname}/fetch-debian' '${made}' ${architecture} 'libstd-rust-web-dev=${version}' 2>&1`);
  });
  const triple = `${gnu}-unknown-linux-gnu`;
  const variable = (name: string) => `CARGO_TARGET_${triple.toUpperCase().replaceAll('-', '_')}_${name}`;
  const folder = join(ROOT, `dist/cargo-${architecture}`);
  const env = {
    ...process.env,
    RUSTC: '/usr/bin/rustc',
    CARGO_TARGET_DIR: folder,
    [variable('LINKER')]: `${gnu}-linux-gnu-gcc`,
    [variable('RUSTFLAGS')]: `--sysroot=${library}/usr`,
    [variable('RUNNER')]: `/usr/bin/qemu-${gnu}-static -L /usr/${gnu}-linux-gnu`,
  };
  const what = ['--manifest-path', join(ROOT, 'Cargo.toml'), '--package', 'aoe-target', '--package', 'aoe-copier'];
  const args = [...command.slice(0, 1), '--locked', '--target', triple, ...what, ...command.slice(1)];
  const output = await run('cargo', args, { env, timeoutMs: BUILD_LIMIT_MS });
  return { output, folder: join(folder, triple) };
}

/** Version of an npm package of this checkout. */
function versionOf(name: string): string {
  return JSON.parse(readFileSync(join(MODULES, name, 'package.json'), 'utf8')).version;
}

/** An npm package, unpacked in the cache. @throws Error when it is not the one that package-lock.json knows */
async function npmPackage(name: string, version: string): Promise<string> {
  const { packages } = JSON.parse(readFileSync(join(ROOT, 'package-lock.json'), 'utf8'));
  const known: string | undefined = packages[`node_modules/${name}`]?.integrity;
  const folder = await cached(`npm-${name.replace(/.*\//, '')}`, keyOf([], version, known ?? ''), (made) => {
    const archive = join(made, sh(`cd '${made}' && npm pack --silent '${name}@${version}'`).trim());
    const integrity = `sha512-${createHash('sha512').update(readFileSync(archive)).digest('base64')}`;
    if (known && integrity !== known) throw new Error(`${name} ${version} is ${integrity}, and package-lock.json has ${known}`);
    sh(`tar -C '${made}' -xzf '${archive}' && rm '${archive}'`);
  });
  return join(folder, 'package');
}
