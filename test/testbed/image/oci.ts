import { createHash } from 'node:crypto';
import { createReadStream, createWriteStream, mkdirSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { createGzip } from 'node:zlib';
import { sh } from '../process/shell.ts';

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
  entrypoint?: string[];
  env?: string[];
  workingDir?: string;
  /** Keys and values of the image specification's annotations.md. */
  labels?: Readonly<Record<string, string>>;
}

/**
 * Writes an OCI image layout archive (image-layout.md of the OCI image specification) for `ctr images import`.
 * The archive contains the layers in `included`; the importing store must have the others already.
 * Gives the image's digest.
 */
export function writeImage(path: string, config: ImageConfig, layers: Layer[], included: Layer[] = layers): string {
  const folder = `${path}.layout`;
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(join(folder, 'blobs/sha256'), { recursive: true });
  const blob = (content: string) => {
    const digest = createHash('sha256').update(content).digest('hex');
    writeFileSync(join(folder, 'blobs/sha256', digest), content);
    return { digest: `sha256:${digest}`, size: Buffer.byteLength(content) };
  };
  const image = blob(
    JSON.stringify({
      architecture: process.arch === 'x64' ? 'amd64' : process.arch,
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
  const manifest = blob(
    JSON.stringify({
      schemaVersion: 2,
      mediaType: 'application/vnd.oci.image.manifest.v1+json',
      config: { mediaType: 'application/vnd.oci.image.config.v1+json', ...image },
      layers: layers.map(({ gzip, ...tar }) => {
        const { digest, size } = gzip ?? tar;
        return { mediaType: `application/vnd.oci.image.layer.v1.tar${gzip ? '+gzip' : ''}`, digest, size };
      }),
      annotations: config.labels,
    }),
  );
  writeFileSync(join(folder, 'oci-layout'), '{"imageLayoutVersion":"1.0.0"}');
  writeFileSync(
    join(folder, 'index.json'),
    JSON.stringify({
      schemaVersion: 2,
      manifests: [
        {
          mediaType: 'application/vnd.oci.image.manifest.v1+json',
          ...manifest,
          annotations: {
            'io.containerd.image.name': config.name,
            'org.opencontainers.image.ref.name': config.name.slice(config.name.lastIndexOf(':') + 1),
          },
        },
      ],
    }),
  );
  for (const { gzip, ...tar } of included) {
    const { path: from, digest } = gzip ?? tar;
    const to = join(folder, 'blobs', digest.replace(':', '/'));
    sh(`ln -f '${from}' '${to}' || cp '${from}' '${to}'`);
  }
  sh(`tar ${REPRODUCIBLE} -C '${folder}' -cf '${path}.new' .`);
  renameSync(`${path}.new`, path);
  rmSync(folder, { recursive: true });
  return manifest.digest;
}
