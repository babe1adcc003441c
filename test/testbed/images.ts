import { cpSync, existsSync, mkdirSync, renameSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Guest } from './guest.ts';
import { AWAIT_CONTAINERD, CONTAINERD_CONFIG, START_CONTAINERD } from './node.ts';
import { type Layer, packLayer, readLayer, readPackageList, writeImage } from './oci.ts';
import { CACHE, KIT, keyOf, ROOT } from './paths.ts';
import { sh } from './shell.ts';

/** The names that the chart and the tests' pods use. */
export const OUR_IMAGE = 'docker.io/library/aoe-csi:testbed';
export const BUSYBOX_IMAGE = 'docker.io/library/busybox:testbed';
const BASE_IMAGE = 'docker.io/library/aoe-csi-base:testbed';

const PACKAGES = join(ROOT, 'deploy/image/debian-packages');
const NODE = join(ROOT, 'node_modules/node/bin/node');

/** Makes something in the cache once per key: `make` gets a folder that appears under its name when all is done. */
async function cached(name: string, key: string, make: (folder: string) => Promise<void> | void): Promise<string> {
  const folder = join(CACHE, `${name}-${key}`);
  if (existsSync(folder)) return folder;
  const unfinished = `${folder}.unfinished`;
  rmSync(unfinished, { recursive: true, force: true });
  mkdirSync(unfinished, { recursive: true });
  await make(unfinished);
  renameSync(unfinished, folder);
  return folder;
}

/** The image's lower layer: Debian packages and Node.js. Changes rarely. */
async function baseLayer(): Promise<Layer> {
  const version = sh(`'${NODE}' --version`).trim();
  const folder = await cached('image-base', keyOf([PACKAGES], version), async (made) => {
    const root = join(made, 'root');
    const packages = readPackageList(PACKAGES);
    sh(
      `. /etc/os-release; mmdebstrap --quiet --variant=extract --include='${packages.join(',')}' "$VERSION_CODENAME" '${root}' >'${made}/mmdebstrap.log' 2>&1`,
    );
    sh(`cd '${root}'; rm -rf usr/share/doc usr/share/man usr/share/locale usr/share/info usr/share/zoneinfo var/cache/* var/lib/apt var/log/* dev/*
        mkdir -p proc sys dev run tmp etc/lvm; ln -sf busybox bin/sh; install -m 755 '${NODE}' usr/bin/node`);
    await packLayer(root, join(made, 'layer.tar'));
    rmSync(root, { recursive: true });
  });
  return readLayer(join(folder, 'layer.tar'));
}

/** The image's upper layer: what `make build` made. */
async function ourLayer(): Promise<Layer> {
  const dist = join(ROOT, 'dist');
  const programs = ['operator.js', 'agent.js', 'csi.js'].map((name) => join(dist, name));
  const target = join(dist, 'cargo/release/aoe-target');
  const folder = await cached('image-ours', keyOf([...programs, target]), async (made) => {
    const app = join(made, 'root/app');
    for (const program of programs) cpSync(program, join(app, program.slice(dist.length)));
    for (const module of ['koffi', '@koromix/koffi-linux-x64'])
      cpSync(join(ROOT, 'node_modules', module), join(app, 'node_modules', module), { recursive: true });
    // Sources of the native part, which comes built.
    for (const unused of ['vendor', 'doc', 'lib']) rmSync(join(app, 'node_modules/koffi', unused), { recursive: true, force: true });
    writeFileSync(join(app, 'package.json'), '{"type":"module"}\n');
    mkdirSync(join(made, 'root/usr/bin'), { recursive: true });
    cpSync(target, join(made, 'root/usr/bin/aoe-target'));
    sh(`strip '${made}/root/usr/bin/aoe-target'`);
    await packLayer(join(made, 'root'), join(made, 'layer.tar'));
    rmSync(join(made, 'root'), { recursive: true });
  });
  return readLayer(join(folder, 'layer.tar'));
}

async function smallImage(made: string, name: string, fill: (root: string) => void, entrypoint?: string[]): Promise<void> {
  const root = join(made, 'root');
  mkdirSync(root);
  fill(root);
  const tar = join(made, 'layer.tar');
  writeImage(join(made, `${name.replaceAll('/', '_')}.tar`), { name, ...(entrypoint ? { entrypoint } : {}) }, [await packLayer(root, tar)]);
  rmSync(root, { recursive: true });
  rmSync(tar);
}

/** Archives of all images but ours: what every node has from its first boot. */
async function stableImages(base: Layer): Promise<string> {
  const sidecar = (name: string) => (root: string) => cpSync(join(KIT, name), join(root, name));
  const key = keyOf(
    [join(import.meta.dirname, 'pause.c'), join(import.meta.dirname, 'images.ts'), join(import.meta.dirname, 'kit')],
    base.digest,
  );
  return cached('images', key, async (made) => {
    await smallImage(
      made,
      'registry.k8s.io/pause:3.10.1',
      (root) => sh(`gcc -Os -static -s -o '${root}/pause' '${import.meta.dirname}/pause.c'`),
      ['/pause'],
    );
    await smallImage(made, BUSYBOX_IMAGE, (root) => {
      mkdirSync(join(root, 'bin'));
      mkdirSync(join(root, 'tmp'));
      cpSync('/bin/busybox', join(root, 'bin/busybox'));
      for (const applet of sh('/bin/busybox --list').trim().split('\n'))
        if (applet !== 'busybox') symlinkSync('busybox', join(root, 'bin', applet));
    });
    await smallImage(made, 'registry.k8s.io/sig-storage/csi-provisioner:v6.3.0', sidecar('csi-provisioner'), ['/csi-provisioner']);
    await smallImage(made, 'registry.k8s.io/sig-storage/csi-attacher:v4.12.0', sidecar('csi-attacher'), ['/csi-attacher']);
    writeImage(join(made, 'base.tar'), { name: BASE_IMAGE }, [base]);
  });
}

/** A disk image with containerd's store, filled once by a guest with the images that rarely change. The network must be there. */
export async function filledDisk(): Promise<string> {
  const images = await stableImages(await baseLayer());
  const folder = await cached('disk', keyOf([images]), async (made) => {
    const disk = join(made, 'disk.img');
    sh(`truncate -s 6G '${disk}'; mkfs.ext4 -q -O ^has_journal '${disk}'`);
    const guest = new Guest('filler', { index: 9, memory: '1024M', disks: [disk] });
    await guest.boot();
    writeFileSync(join(guest.directory, 'containerd.toml'), CONTAINERD_CONFIG);
    await guest.exec(
      'mount /dev/ubda /mnt; mkdir -p /mnt/containerd /var/lib/containerd; mount --bind /mnt/containerd /var/lib/containerd',
    );
    await guest.start(START_CONTAINERD);
    await guest.exec(
      `${AWAIT_CONTAINERD}; for archive in '${images}'/*.tar; do ctr -n k8s.io images import "$archive"; done
       pkill -x containerd; timeout 10 sh -c 'while pgrep -x containerd >/dev/null; do sleep 0.1; done'; umount /var/lib/containerd /mnt`,
      { timeoutMs: 300_000 },
    );
    await guest.crash();
    sh(`tune2fs -O has_journal '${disk}' >/dev/null`);
  });
  return join(folder, 'disk.img');
}

/** An archive of our image without its lower layer, which the disks have. */
export async function ourArchive(): Promise<string> {
  const base = await baseLayer();
  const ours = await ourLayer();
  const folder = await cached('image', keyOf([], base.digest, ours.digest), (made) =>
    writeImage(join(made, 'aoe-csi.tar'), { name: OUR_IMAGE, workingDir: '/app' }, [base, ours], [ours]),
  );
  return join(folder, 'aoe-csi.tar');
}
