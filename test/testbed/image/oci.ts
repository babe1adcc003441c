import { createHash } from 'node:crypto';
import { createReadStream, createWriteStream, mkdirSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { createGzip } from 'node:zlib';
import { sh } from '../process/shell.ts';
import { type Architecture, HERE } from './platform.ts';

/** Options of tar(1): the same content gives the same archive, whoever makes it and when. */
export const REPRODUCIBLE =
  '--sort=name --mtime=@0 --owner=0 --group=0 --numeric-owner --format=pax --pax-option=exthdr.name=%d/PaxHeaders/%f,delete=atime,delete=ctime';

/** A layer on disk: an uncompressed tar. */
export interface Layer {
  path: string;
  digest: string;
  size: number;
  /** The same tar compressed with gzip, for an image that is sent over a network. */
  gzip?: { path: string; digest: string; size: number };
}

/** Packs a folder as a layer: same content, same digest. */
export async function packLayer(folder: string, path: string): Promise<Layer> {
  sh(`tar ${REPRODUCIBLE} -C '${folder}' -cf '${path}' .`);
  writeFileSync(`${path}.json`, JSON.stringify({ digest: await digestOf(path), size: statSync(path).size }));
  return readLayer(path);
}

/** A layer that packLayer() made, wherever its folder was moved; digest and size are in a file beside it. */
export function readLayer(path: string): Layer {
  return { path, ...JSON.parse(readFileSync(`${path}.json`, 'utf8')) };
}

/** Compresses a layer: the same result each time with the same version of Node.js. */
export async function compressLayer(layer: Layer, path: string): Promise<Layer> {
  await pipeline(createReadStream(layer.path), createGzip({ level: 6 }), createWriteStream(path));
  return { ...layer, gzip: { path, digest: await digestOf(path), size: statSync(path).size } };
}

/** `sha256:` and the hash of a file. */
export async function digestOf(path: string): Promise<string> {
  const hash = createHash('sha256');
  await pipeline(createReadStream(path), hash);
  return `sha256:${hash.digest('hex')}`;
}

export interface ImageConfig {
  /** With a tag, such as `docker.io/library/busybox:1.37`. */
  name: string;
  /** That of this machine if not given. */
  architecture?: Architecture;
  entrypoint?: string[];
  env?: string[];
  workingDir?: string;
  /** Keys and values of the image specification's annotations.md. */
  labels?: Readonly<Record<string, string>>;
}

/** A blob of an image layout, as a manifest or an index names it (descriptor.md of the OCI image specification). */
interface Descriptor {
  mediaType: string;
  digest: string;
  size: number;
}

export interface Image {
  config: ImageConfig;
  layers: readonly Layer[];
}

/**
 * Writes an OCI image layout archive (image-layout.md of the OCI image specification) for `ctr images import`.
 * The archive contains the layers in `included`; the importing store must have the others already.
 * Gives the image's digest.
 */
export function writeImage(path: string, config: ImageConfig, layers: readonly Layer[], included = layers): string {
  return writeLayout(path, config.name, (layout) => {
    addLayers(layout, included);
    return addImage(layout, { config, layers });
  });
}

/**
 * Writes an archive of the same image for several platforms (image-index.md of the OCI image specification).
 * @returns the digest of their index, and those of the images in their order
 */
export function writeIndex(path: string, images: readonly Image[]): { index: string; digests: string[] } {
  const [first] = images;
  if (!first) throw new Error('an index needs an image');
  const digests: string[] = [];
  const { name, labels: annotations } = first.config;
  const index = writeLayout(path, name, (layout) => {
    const manifests = images.map((image) => {
      addLayers(layout, image.layers);
      const manifest = addImage(layout, image);
      digests.push(manifest.digest);
      return { ...manifest, platform: { architecture: image.config.architecture ?? HERE, os: 'linux' } };
    });
    const mediaType = 'application/vnd.oci.image.index.v1+json';
    return { mediaType, ...addBlob(layout, JSON.stringify({ schemaVersion: 2, mediaType, manifests, annotations })) };
  });
  return { index, digests };
}

/** Writes an archive with what `fill` puts into the folder of its layout. @returns the digest of what `fill` gives, which gets the name */
function writeLayout(path: string, name: string, fill: (layout: string) => Descriptor): string {
  const layout = `${path}.layout`;
  rmSync(layout, { recursive: true, force: true });
  mkdirSync(join(layout, 'blobs/sha256'), { recursive: true });
  const descriptor = fill(layout);
  writeFileSync(join(layout, 'oci-layout'), '{"imageLayoutVersion":"1.0.0"}');
  const annotations = { 'io.containerd.image.name': name, 'org.opencontainers.image.ref.name': name.slice(name.lastIndexOf(':') + 1) };
  writeFileSync(join(layout, 'index.json'), JSON.stringify({ schemaVersion: 2, manifests: [{ ...descriptor, annotations }] }));
  sh(`tar ${REPRODUCIBLE} -C '${layout}' -cf '${path}.new' .`);
  renameSync(`${path}.new`, path);
  rmSync(layout, { recursive: true });
  return descriptor.digest;
}

function addBlob(layout: string, content: string): Omit<Descriptor, 'mediaType'> {
  const digest = createHash('sha256').update(content).digest('hex');
  writeFileSync(join(layout, 'blobs/sha256', digest), content);
  return { digest: `sha256:${digest}`, size: Buffer.byteLength(content) };
}

function addLayers(layout: string, layers: readonly Layer[]): void {
  for (const { gzip, ...tar } of layers) {
    const { path: from, digest } = gzip ?? tar;
    const to = join(layout, 'blobs', digest.replace(':', '/'));
    sh(`ln -f '${from}' '${to}' || cp '${from}' '${to}'`);
  }
}

/** Adds configuration and manifest of an image. */
function addImage(layout: string, { config, layers }: Image): Descriptor {
  const image = addBlob(
    layout,
    JSON.stringify({
      architecture: config.architecture ?? HERE,
      os: 'linux',
      created: '2026-01-01T00:00:00Z',
      config: {
        Entrypoint: config.entrypoint,
        Env: ['PATH=/usr/sbin:/usr/bin:/sbin:/bin', ...(config.env ?? [])],
        WorkingDir: config.workingDir,
        Labels: config.labels,
      },
      rootfs: { type: 'layers', diff_ids: layers.map((layer) => layer.digest) },
    }),
  );
  const mediaType = 'application/vnd.oci.image.manifest.v1+json';
  const manifest = addBlob(
    layout,
    JSON.stringify({
      schemaVersion: 2,
      mediaType,
      config: { mediaType: 'application/vnd.oci.image.config.v1+json', ...image },
      layers: layers.map(({ gzip, ...tar }) => {
        const { digest, size } = gzip ?? tar;
        return { mediaType: `application/vnd.oci.image.layer.v1.tar${gzip ? '+gzip' : ''}`, digest, size };
      }),
      annotations: config.labels,
    }),
  );
  return { mediaType, ...manifest };
}
