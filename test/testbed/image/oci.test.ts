import { createHash } from 'node:crypto';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, utimesSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { sh } from '../process/shell.ts';
import { packLayer, writeImage, writeIndex } from './oci.ts';

const folder = mkdtempSync(join(tmpdir(), 'aoe-csi-oci-'));
afterAll(() => rmSync(folder, { recursive: true }));

function tree(name: string, content: string, mtime = 1_000_000): string {
  const root = join(folder, name);
  mkdirSync(join(root, 'bin'), { recursive: true });
  writeFileSync(join(root, 'bin/program'), content, { mode: 0o755 });
  utimesSync(join(root, 'bin/program'), mtime, mtime);
  return root;
}

/** Unpacks an image archive. */
function unpack(archive: string) {
  const root = `${archive}.unpacked`;
  sh(`mkdir '${root}'; tar -C '${root}' -xf '${archive}'`);
  const blob = (digest: string) => join(root, 'blobs', digest.replace(':', '/'));
  const json = (path: string) => JSON.parse(readFileSync(path, 'utf8'));
  const index = json(join(root, 'index.json'));
  const manifest = json(blob(index.manifests[0].digest));
  return { root, blob, index, manifest, config: manifest.config && json(blob(manifest.config.digest)) };
}

describe('packLayer()', () => {
  it('gives the same digest for the same content, whenever it was written', async () => {
    const one = await packLayer(tree('one', 'content'), join(folder, 'one.tar'));
    const two = await packLayer(tree('two', 'content', 2_000_000), join(folder, 'two.tar'));
    expect(one.digest).toBe(two.digest);
    expect(one.size).toBe(two.size);
  });

  it('gives another digest for other content', async () => {
    const one = await packLayer(tree('three', 'content'), join(folder, 'three.tar'));
    const two = await packLayer(tree('four', 'Content'), join(folder, 'four.tar'));
    expect(one.digest).not.toBe(two.digest);
  });
});

describe('writeImage()', () => {
  it('writes manifest, configuration and layers under their digests', async () => {
    const layer = await packLayer(tree('image', 'content'), join(folder, 'image-layer.tar'));
    const archive = join(folder, 'image.tar');
    writeImage(archive, { name: 'docker.io/library/x:1', entrypoint: ['/bin/program'], workingDir: '/bin' }, [layer]);
    const { blob, index, manifest, config } = unpack(archive);
    expect(index.manifests[0].annotations['io.containerd.image.name']).toBe('docker.io/library/x:1');
    expect(config.rootfs.diff_ids).toStrictEqual([layer.digest]);
    expect(config.config.Entrypoint).toStrictEqual(['/bin/program']);
    expect(config.config.WorkingDir).toBe('/bin');
    for (const { digest, size } of [index.manifests[0], manifest.config, ...manifest.layers]) {
      const content = readFileSync(blob(digest));
      expect(content.length).toBe(size);
      expect(`sha256:${createHash('sha256').update(content).digest('hex')}`).toBe(digest);
    }
  });

  it('leaves out the layers that the store has, and still names them', async () => {
    const base = await packLayer(tree('base', 'base'), join(folder, 'base-layer.tar'));
    const ours = await packLayer(tree('ours', 'ours'), join(folder, 'ours-layer.tar'));
    const archive = join(folder, 'thin.tar');
    writeImage(archive, { name: 'docker.io/library/x:2' }, [base, ours], [ours]);
    const { blob, manifest, config } = unpack(archive);
    expect(config.rootfs.diff_ids).toStrictEqual([base.digest, ours.digest]);
    expect(manifest.layers.map((layer: { digest: string }) => layer.digest)).toStrictEqual([base.digest, ours.digest]);
    readFileSync(blob(ours.digest));
    expect(() => readFileSync(blob(base.digest))).toThrow(/ENOENT/);
  });
});

describe('writeIndex()', () => {
  it('writes the images of several platforms and an index of them, which has the name', async () => {
    const images = await Promise.all(
      (['amd64', 'arm64'] as const).map(async (architecture) => ({
        config: { name: 'docker.io/library/x:3', architecture },
        layers: [await packLayer(tree(architecture, `for ${architecture}`), join(folder, `${architecture}-layer.tar`))],
      })),
    );
    const archive = join(folder, 'index.tar');
    const { index: digest, digests } = writeIndex(archive, images);
    const { root, blob, index, manifest } = unpack(archive);
    expect(index.manifests[0]).toMatchObject({ digest, annotations: { 'io.containerd.image.name': 'docker.io/library/x:3' } });
    expect(manifest.manifests.map((each: { digest: string }) => each.digest)).toStrictEqual(digests);
    for (const [at, { config, layers }] of images.entries()) {
      const { platform, digest: imageDigest } = manifest.manifests[at];
      expect(platform).toStrictEqual({ architecture: config.architecture, os: 'linux' });
      const image = JSON.parse(readFileSync(blob(imageDigest), 'utf8'));
      expect(image.layers[0].digest).toBe(layers[0]?.digest);
      expect(JSON.parse(readFileSync(blob(image.config.digest), 'utf8')).architecture).toBe(config.architecture);
    }
    expect(readdirSync(join(root, 'blobs/sha256'))).toHaveLength(7);
  });
});
