import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, utimesSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, describe, it } from 'node:test';
import { packLayer, writeImage } from './oci.ts';
import { sh } from './shell.ts';

const folder = mkdtempSync(join(tmpdir(), 'aoe-csi-oci-'));
after(() => rmSync(folder, { recursive: true }));

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
  return { root, blob, index, manifest, config: json(blob(manifest.config.digest)) };
}

describe('packLayer()', () => {
  it('gives the same digest for the same content, whenever it was written', async () => {
    const one = await packLayer(tree('one', 'content'), join(folder, 'one.tar'));
    const two = await packLayer(tree('two', 'content', 2_000_000), join(folder, 'two.tar'));
    assert.equal(one.digest, two.digest);
    assert.equal(one.size, two.size);
  });

  it('gives another digest for other content', async () => {
    const one = await packLayer(tree('three', 'content'), join(folder, 'three.tar'));
    const two = await packLayer(tree('four', 'Content'), join(folder, 'four.tar'));
    assert.notEqual(one.digest, two.digest);
  });
});

describe('writeImage()', () => {
  it('writes manifest, configuration and layers under their digests', async () => {
    const layer = await packLayer(tree('image', 'content'), join(folder, 'image-layer.tar'));
    const archive = join(folder, 'image.tar');
    writeImage(archive, { name: 'docker.io/library/x:1', entrypoint: ['/bin/program'], workingDir: '/bin' }, [layer]);
    const { blob, index, manifest, config } = unpack(archive);
    assert.equal(index.manifests[0].annotations['io.containerd.image.name'], 'docker.io/library/x:1');
    assert.deepEqual(config.rootfs.diff_ids, [layer.digest]);
    assert.deepEqual(config.config.Entrypoint, ['/bin/program']);
    assert.equal(config.config.WorkingDir, '/bin');
    for (const { digest, size } of [index.manifests[0], manifest.config, ...manifest.layers]) {
      const content = readFileSync(blob(digest));
      assert.equal(content.length, size);
      assert.equal(`sha256:${createHash('sha256').update(content).digest('hex')}`, digest);
    }
  });

  it('leaves out the layers that the store has, and still names them', async () => {
    const base = await packLayer(tree('base', 'base'), join(folder, 'base-layer.tar'));
    const ours = await packLayer(tree('ours', 'ours'), join(folder, 'ours-layer.tar'));
    const archive = join(folder, 'thin.tar');
    writeImage(archive, { name: 'docker.io/library/x:2' }, [base, ours], [ours]);
    const { blob, manifest, config } = unpack(archive);
    assert.deepEqual(config.rootfs.diff_ids, [base.digest, ours.digest]);
    assert.deepEqual(
      manifest.layers.map((layer: { digest: string }) => layer.digest),
      [base.digest, ours.digest],
    );
    readFileSync(blob(ours.digest));
    assert.throws(() => readFileSync(blob(base.digest)), /ENOENT/);
  });
});
