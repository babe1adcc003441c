import { createHash } from 'node:crypto';
import { createReadStream, mkdirSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { sh } from '../process/shell.ts';

/** A layer on disk: an uncompressed tar. */
export interface Layer {
  path: string;
  digest: string;
  size: number;
}

/** Packs a folder as a layer: same content, same digest. */
export async function packLayer(folder: string, path: string): Promise<Layer> {
  sh(
    `tar --sort=name --mtime=@0 --owner=0 --group=0 --numeric-owner --format=pax --pax-option=exthdr.name=%d/PaxHeaders/%f,delete=atime,delete=ctime -C '${folder}' -cf '${path}' .`,
  );
  const hash = createHash('sha256');
  await pipeline(createReadStream(path), hash);
  writeFileSync(`${path}.json`, JSON.stringify({ digest: `sha256:${hash.digest('hex')}`, size: statSync(path).size }));
  return readLayer(path);
}

/** A layer that packLayer() made, wherever its folder was moved; digest and size are in a file beside it. */
export function readLayer(path: string): Layer {
  return { path, ...JSON.parse(readFileSync(`${path}.json`, 'utf8')) };
}

export interface ImageConfig {
  name: string;
  entrypoint?: string[];
  env?: string[];
  workingDir?: string;
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
      },
      rootfs: { type: 'layers', diff_ids: layers.map((layer) => layer.digest) },
    }),
  );
  const manifest = blob(
    JSON.stringify({
      schemaVersion: 2,
      mediaType: 'application/vnd.oci.image.manifest.v1+json',
      config: { mediaType: 'application/vnd.oci.image.config.v1+json', ...image },
      layers: layers.map(({ digest, size }) => ({ mediaType: 'application/vnd.oci.image.layer.v1.tar', digest, size })),
    }),
  );
  writeFileSync(join(folder, 'oci-layout'), '{"imageLayoutVersion":"1.0.0"}');
  writeFileSync(
    join(folder, 'index.json'),
    JSON.stringify({
      schemaVersion: 2,
      manifests: [
        { mediaType: 'application/vnd.oci.image.manifest.v1+json', ...manifest, annotations: { 'io.containerd.image.name': config.name } },
      ],
    }),
  );
  for (const layer of included)
    sh(
      `ln -f '${layer.path}' '${folder}/blobs/${layer.digest.replace(':', '/')}' || cp '${layer.path}' '${folder}/blobs/${layer.digest.replace(':', '/')}'`,
    );
  sh(`tar -C '${folder}' -cf '${path}.new' .`);
  renameSync(`${path}.new`, path);
  rmSync(folder, { recursive: true });
  return manifest.digest;
}
