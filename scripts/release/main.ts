// Makes dist/release/: what a release for this machine's platform consists of, from what `make build` made. REPOSITORY in the environment:
// where the image will be pulled from. The same inputs give the same digests.
import { createHash } from 'node:crypto';
import { copyFileSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { parse } from 'yaml';
import { ourLayers } from '../../test/testbed/image/images.ts';
import { compressLayer, REPRODUCIBLE, writeImage } from '../../test/testbed/image/oci.ts';
import { sh } from '../../test/testbed/process/shell.ts';
import { packChart } from './chart.ts';
import { krewManifest } from './krew.ts';
import { billOfMaterials, componentsOfImage } from './sbom.ts';

const ROOT = join(import.meta.dirname, '../..');
const OUT = join(ROOT, 'dist/release');
/** GITHUB_REPOSITORY: where the release will be downloaded from, OWNER/NAME. */
const { REPOSITORY = 'localhost/aoe-csi', GITHUB_REPOSITORY = 'OWNER/aoe-csi' } = process.env;
const { version } = parse(readFileSync(join(ROOT, 'charts/aoe-csi/Chart.yaml'), 'utf8')) as { version: string };
const platform = process.arch === 'x64' ? 'amd64' : process.arch;

rmSync(OUT, { recursive: true, force: true });
mkdirSync(join(OUT, 'tmp'), { recursive: true });

console.log('Compressing the layers of the image (usually 20 seconds)');
const { layers, debianPackages } = await ourLayers();
const compressed = await Promise.all(layers.map((layer, index) => compressLayer(layer, join(OUT, 'tmp', `layer-${index}.tar.gz`))));
const labels = {
  'org.opencontainers.image.title': 'aoe-csi',
  'org.opencontainers.image.description': 'ATA-over-Ethernet volumes for Kubernetes: all programs of the chart',
  'org.opencontainers.image.version': version,
  'org.opencontainers.image.licenses': 'Apache-2.0',
};
const image = `aoe-csi-${version}-linux-${platform}`;
const digest = writeImage(join(OUT, `${image}.oci.tar`), { name: `${REPOSITORY}:${version}`, workingDir: '/app', labels }, compressed);

const sbom = billOfMaterials({ name: REPOSITORY, version, digest, components: componentsOfImage(debianPackages) });
writeFileSync(join(OUT, `${image}.cdx.json`), `${JSON.stringify(sbom, null, 2)}\n`);
packChart(join(OUT, `aoe-csi-${version}.tgz`), { repository: REPOSITORY, digest, scratch: join(OUT, 'tmp') });
copyFileSync(join(ROOT, 'LICENSE'), join(OUT, 'LICENSE'));
packPlugin();
rmSync(join(OUT, 'tmp'), { recursive: true });

const sums = readdirSync(OUT).toSorted();
const lines = sums.map((name) => `${sha256Of(join(OUT, name))}  ${name}\n`);
writeFileSync(join(OUT, 'SHA256SUMS'), lines.join(''));
console.log(`image ${REPOSITORY}:${version}, linux/${platform}: ${digest}`);
console.log(lines.join('').trimEnd());

/** The kubectl plugin, as one file and as krew downloads it, with its manifest. */
function packPlugin(): void {
  const plugin = join(OUT, 'kubectl-aoe');
  copyFileSync(join(ROOT, 'dist/kubectl-aoe.js'), plugin);
  const archive = `kubectl-aoe-${version}.tar.gz`;
  sh(`tar ${REPRODUCIBLE} -C '${OUT}' -cf - kubectl-aoe LICENSE | gzip -n -9 >'${join(OUT, archive)}'`);
  const url = `https://github.com/${GITHUB_REPOSITORY}/releases/download/v${version}/${archive}`;
  const template = readFileSync(join(ROOT, 'deploy/krew/aoe.yaml'), 'utf8');
  const manifest = krewManifest(template, { version, repository: GITHUB_REPOSITORY, url, sha256: sha256Of(join(OUT, archive)) });
  writeFileSync(join(OUT, 'aoe.yaml'), manifest);
}

function sha256Of(path: string): string {
  return createHash('sha256').update(readFileSync(path)).digest('hex');
}
