// Makes dist/release/: what a release consists of, from what `make build` made. Variables: REPOSITORY, where the image will be pulled from;
// PLATFORMS, a list of amd64 and arm64, that of this machine by default. The same inputs give the same digests.
import { createHash } from 'node:crypto';
import { copyFileSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { parse } from 'yaml';
import { ourLayers } from '../../test/testbed/image/images.ts';
import { compressLayer, type Image, REPRODUCIBLE, writeImage, writeIndex } from '../../test/testbed/image/oci.ts';
import { HERE, PARTS_HERE, type Parts } from '../../test/testbed/image/platform.ts';
import { sh } from '../../test/testbed/process/shell.ts';
import { packChart } from './chart.ts';
import { crossParts } from './cross-build.ts';
import { krewManifest } from './krew.ts';
import { platformsIn } from './platforms.ts';
import { billOfMaterials, type Component, componentsOfImage } from './sbom.ts';

const ROOT = join(import.meta.dirname, '../..');
const OUT = join(ROOT, 'dist/release');
/** GITHUB_REPOSITORY: where the release will be downloaded from, OWNER/NAME. */
const { REPOSITORY = 'localhost/aoe-csi', GITHUB_REPOSITORY = 'OWNER/aoe-csi' } = process.env;
const { version } = parse(readFileSync(join(ROOT, 'charts/aoe-csi/Chart.yaml'), 'utf8')) as { version: string };
const platforms = platformsIn(process.env.PLATFORMS);
const labels = {
  'org.opencontainers.image.title': 'aoe-csi',
  'org.opencontainers.image.description': 'ATA-over-Ethernet volumes for Kubernetes: all programs of the chart',
  'org.opencontainers.image.version': version,
  'org.opencontainers.image.licenses': 'Apache-2.0',
};

rmSync(OUT, { recursive: true, force: true });
mkdirSync(join(OUT, 'tmp'), { recursive: true });

const built: (Image & { components: Component[] })[] = [];
for (const architecture of platforms) {
  if (architecture !== HERE) console.log(`Building the programs for ${architecture} (minutes the first time)`);
  const parts = architecture === HERE ? PARTS_HERE : await crossParts(architecture);
  console.log(`Compressing the layers of the image for ${architecture} (usually 20 seconds)`);
  built.push(await buildImage(parts));
}
const digest = writeImages();
packChart(join(OUT, `aoe-csi-${version}.tgz`), { repository: REPOSITORY, digest, scratch: join(OUT, 'tmp') });
copyFileSync(join(ROOT, 'LICENSE'), join(OUT, 'LICENSE'));
packPlugin();
rmSync(join(OUT, 'tmp'), { recursive: true });

const sums = readdirSync(OUT).toSorted();
const lines = sums.map((name) => `${sha256Of(join(OUT, name))}  ${name}\n`);
writeFileSync(join(OUT, 'SHA256SUMS'), lines.join(''));
console.log(`image ${REPOSITORY}:${version}, ${platforms.map((each) => `linux/${each}`).join(' and ')}: ${digest}`);
console.log(lines.join('').trimEnd());

/** Our image for one platform, and what is in it of others. */
async function buildImage(parts: Parts): Promise<Image & { components: Component[] }> {
  const { architecture } = parts;
  const { layers, debianPackages } = await ourLayers(parts);
  const path = (index: number) => join(OUT, 'tmp', `layer-${architecture}-${index}.tar.gz`);
  const compressed = await Promise.all(layers.map((layer, index) => compressLayer(layer, path(index))));
  const config = { name: `${REPOSITORY}:${version}`, architecture, workingDir: '/app', labels };
  return { config, layers: compressed, components: componentsOfImage(debianPackages, parts) };
}

/**
 * The archive of the image, with an index when it is for several platforms, and the bill of materials of each.
 * @returns the digest by which nodes pull it
 */
function writeImages(): string {
  const [image, ...others] = built;
  if (!image) throw new Error('there is no platform');
  const name = `aoe-csi-${version}`;
  if (others.length > 0) {
    const { index, digests } = writeIndex(join(OUT, `${name}.oci.tar`), built);
    for (const [at, each] of built.entries()) writeBill(`${name}-linux-${platforms[at]}`, digests[at] ?? '', each.components);
    return index;
  }
  const ofPlatform = `${name}-linux-${image.config.architecture}`;
  const only = writeImage(join(OUT, `${ofPlatform}.oci.tar`), image.config, image.layers);
  writeBill(ofPlatform, only, image.components);
  return only;
}

function writeBill(file: string, imageDigest: string, components: Component[]): void {
  const bill = billOfMaterials({ name: REPOSITORY, version, digest: imageDigest, components });
  writeFileSync(join(OUT, `${file}.cdx.json`), `${JSON.stringify(bill, null, 2)}\n`);
}

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
