import { cpSync, mkdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { cached } from '../cache.ts';
import { KIT, KIT_KEY, PAUSE_IMAGE, sidecars } from '../kit.ts';
import { keyOf, ROOT } from '../paths.ts';
import { sh } from '../process/shell.ts';
import { type Layer, packLayer, readLayer, writeImage } from './oci.ts';
import { type Architecture, HERE, koffiPackage, PARTS_HERE, type Parts } from './platform.ts';

/** The names that the chart and the tests' pods use. */
export const OUR_IMAGE = 'docker.io/library/aoe-csi:testbed';
export const BUSYBOX_IMAGE = 'docker.io/library/busybox:testbed';
const BASE_IMAGE = 'docker.io/library/aoe-csi-base:testbed';

const IMAGE = join(ROOT, 'deploy/image');

/** The layers of our image, the lower one first, and the file that lists the Debian packages in it. */
export async function ourLayers(parts = PARTS_HERE): Promise<{ layers: [Layer, Layer]; debianPackages: string }> {
  const { packages, ...base } = await baseLayer(parts);
  return { layers: [base, await ourLayer(parts)], debianPackages: packages };
}

/** The image's lower layer: Debian packages and Node.js. Changes rarely. */
async function baseLayer({ architecture, node, emulator, strip }: Parts): Promise<Layer & { packages: string }> {
  const version = sh(`'${PARTS_HERE.node}' --version`).trim();
  const folder = await cached(`image-base${suffix(architecture)}`, keyOf([IMAGE], version), async (made) => {
    const root = join(made, 'root');
    sh(`STRIP='${strip}' '${IMAGE}/make-base' '${root}' '${node}' ${architecture} ${emulator ?? ''} 2>&1`);
    await packLayer(root, join(made, 'layer.tar'));
    rmSync(root, { recursive: true });
  });
  return { ...readLayer(join(folder, 'layer.tar')), packages: join(folder, 'root.packages') };
}

/** The image's upper layer: what `make build` made. */
async function ourLayer({ architecture, koffi, programs: built, strip }: Parts): Promise<Layer> {
  const dist = join(ROOT, 'dist');
  const programs = ['operator.js', 'agent.js', 'csi.js', 'crds.js'].map((name) => join(dist, name));
  const binaries = ['aoe-target', 'aoe-copier'].map((name) => join(built, name));
  const version = join(ROOT, 'node_modules/koffi/package.json');
  const key = keyOf([...programs, ...binaries, version, import.meta.filename]);
  const folder = await cached(`image-ours${suffix(architecture)}`, key, async (made) => {
    const app = join(made, 'root/app');
    for (const program of programs) cpSync(program, join(app, program.slice(dist.length)));
    cpSync(join(ROOT, 'node_modules/koffi'), join(app, 'node_modules/koffi'), { recursive: true });
    cpSync(koffi, join(app, 'node_modules', koffiPackage(architecture)), { recursive: true });
    // Sources of the native part, which comes built.
    for (const unused of ['vendor', 'doc', 'lib']) rmSync(join(app, 'node_modules/koffi', unused), { recursive: true, force: true });
    writeFileSync(join(app, 'package.json'), '{"type":"module"}\n');
    mkdirSync(join(made, 'root/usr/bin'), { recursive: true });
    for (const binary of binaries) {
      const copy = join(made, 'root/usr/bin', basename(binary));
      cpSync(binary, copy);
      sh(`'${strip}' '${copy}'`);
    }
    await packLayer(join(made, 'root'), join(made, 'layer.tar'));
    rmSync(join(made, 'root'), { recursive: true });
  });
  return readLayer(join(folder, 'layer.tar'));
}

/** In the cache's names: layers for another architecture do not displace those for this machine. */
function suffix(architecture: Architecture): string {
  return architecture === HERE ? '' : `-${architecture}`;
}

/** Writes an image of one layer as an archive, and gives its digest. */
export async function smallImage(made: string, name: string, fill: (root: string) => void, entrypoint?: string[]): Promise<string> {
  const root = join(made, 'root');
  mkdirSync(root);
  fill(root);
  const tar = join(made, 'layer.tar');
  const layer = await packLayer(root, tar);
  const digest = writeImage(join(made, `${name.replaceAll('/', '_')}.tar`), { name, ...(entrypoint ? { entrypoint } : {}) }, [layer]);
  for (const path of [root, tar, `${tar}.json`]) rmSync(path, { recursive: true });
  return digest;
}

/** Archives of all images but ours, which every node has from its first boot. */
export interface StableImages {
  folder: string;
  /** Changes when one of them does. */
  key: string;
}

export async function stableImages(): Promise<StableImages> {
  const base = await baseLayer(PARTS_HERE);
  const sources = ['pause.c', 'images.ts', 'oci.ts', '../kit.ts'].map((name) => join(import.meta.dirname, name));
  const folder = await cached('images', keyOf(sources, base.digest, KIT_KEY), async (made) => {
    const digests = [
      await smallImage(made, PAUSE_IMAGE, (root) => sh(`gcc -Os -static -s -o '${root}/pause' '${import.meta.dirname}/pause.c'`), [
        '/pause',
      ]),
      await smallImage(made, BUSYBOX_IMAGE, (root) => {
        mkdirSync(join(root, 'bin'));
        mkdirSync(join(root, 'tmp'));
        cpSync('/bin/busybox', join(root, 'bin/busybox'));
        for (const applet of sh('/bin/busybox --list').trim().split('\n'))
          if (applet !== 'busybox') symlinkSync('busybox', join(root, 'bin', applet));
      }),
      writeImage(join(made, 'base.tar'), { name: BASE_IMAGE }, [base]),
    ];
    for (const { name, version } of sidecars) {
      const program = (root: string) => cpSync(join(KIT, name), join(root, name));
      digests.push(await smallImage(made, `registry.k8s.io/sig-storage/${name}:${version}`, program, [`/${name}`]));
    }
    // What is written in this file may change without a change of any image: the nodes' disk is made for these.
    writeFileSync(join(made, 'key'), keyOf([], ...digests));
  });
  return { folder, key: readFileSync(join(folder, 'key'), 'utf8') };
}

/** An archive of our image without its lower layer, which the disks have. */
export async function ourArchive(): Promise<string> {
  const {
    layers: [base, ours],
  } = await ourLayers();
  const folder = await cached('image', keyOf([], base.digest, ours.digest), (made) => {
    writeImage(join(made, 'aoe-csi.tar'), { name: OUR_IMAGE, workingDir: '/app' }, [base, ours], [ours]);
  });
  return join(folder, 'aoe-csi.tar');
}
