import { join } from 'node:path';
import { ROOT } from '../paths.ts';

/** A processor architecture that our image is made for, as Debian and the OCI image specification call it. */
export type Architecture = 'amd64' | 'arm64';

/** How others call an architecture: Node.js and npm packages, and GNU, Rust and QEMU. */
export const NAMES: Readonly<Record<Architecture, { node: string; gnu: string }>> = {
  amd64: { node: 'x64', gnu: 'x86_64' },
  arm64: { node: 'arm64', gnu: 'aarch64' },
};

/** That of this machine. */
export const HERE: Architecture = process.arch === 'arm64' ? 'arm64' : 'amd64';

/** Those parts of our image that are made for one architecture. */
export interface Parts {
  readonly architecture: Architecture;
  /** Program file of Node.js. */
  readonly node: string;
  /** Folder of the npm package with koffi's native part. */
  readonly koffi: string;
  /** Folder with aoe-target and aoe-copier. */
  readonly programs: string;
  /** The strip(1) for these. */
  readonly strip: string;
  /** Program file of a static emulator, for an architecture that this machine cannot run. */
  readonly emulator?: string;
}

/** What `make build` and `npm install` brought for this machine. */
export const PARTS_HERE: Parts = {
  architecture: HERE,
  node: join(ROOT, 'node_modules/node/bin/node'),
  koffi: join(ROOT, 'node_modules', koffiPackage(HERE)),
  programs: join(ROOT, 'dist/cargo/release'),
  strip: 'strip',
};

/** Name of the npm package with koffi's native part. */
export function koffiPackage(architecture: Architecture): string {
  return `@koromix/koffi-linux-${NAMES[architecture].node}`;
}
