import { execFileSync } from 'node:child_process';
import { globSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { parse } from 'yaml';
import { CHART, render } from '../chart/helm.ts';
import { digestOf } from '../testbed/image/oci.ts';
import { ROOT } from '../testbed/paths.ts';

const OUT = join(ROOT, 'dist/release');
const REPOSITORY = 'registry.example/aoe-csi';
const json = (path: string) => JSON.parse(readFileSync(path, 'utf8'));

describe('a release', () => {
  const scratch = mkdtempSync(join(tmpdir(), 'aoe-csi-release-'));
  const layout = (path = '') => join(scratch, 'image', path);
  const blob = (digest: string) => layout(join('blobs', digest.replace(':', '/')));
  let manifestDigest: string;

  beforeAll(() => {
    execFileSync(process.execPath, [join(ROOT, 'scripts/release/main.ts')], { env: { ...process.env, REPOSITORY }, stdio: 'pipe' });
    const [archive = ''] = globSync(`${OUT}/*.oci.tar`);
    execFileSync('/bin/bash', ['-ec', `mkdir '${layout()}'; tar -C '${layout()}' -xf '${archive}'`]);
    manifestDigest = json(layout('index.json')).manifests[0].digest;
  }, 300_000);
  afterAll(() => rmSync(scratch, { recursive: true, force: true }));

  it('has an image whose parts are what their digests say', async () => {
    const manifest = json(blob(manifestDigest));
    for (const { digest, size } of [manifest.config, ...manifest.layers]) {
      expect(await digestOf(blob(digest))).toBe(digest);
      expect(readFileSync(blob(digest)).length).toBe(size);
    }
    expect(await digestOf(blob(manifestDigest))).toBe(manifestDigest);
    expect(json(blob(manifest.config.digest)).config.Labels['org.opencontainers.image.title']).toBe('aoe-csi');
  });

  it('has all programs that the chart starts in that image', async () => {
    const names = json(blob(manifestDigest)).layers.flatMap(({ digest }: { digest: string }) =>
      execFileSync('tar', ['-tzf', blob(digest)], { encoding: 'utf8', maxBuffer: 64 << 20 }).split('\n'),
    );
    const started = (await render()).flatMap(({ spec }) => spec?.template?.spec.containers ?? []);
    const ours = started.filter(({ image }) => image.includes('aoe-csi')).flatMap(({ command }) => command);
    const files = ours.filter((word: string) => word.startsWith('/'));
    expect(files.length).toBeGreaterThan(3);
    for (const file of files) expect(names, file).toContain(`.${file}`);
  });

  it('has a chart that starts exactly that image, wherever it is unpacked', async () => {
    const [chart = ''] = globSync(`${OUT}/aoe-csi-*.tgz`);
    const images = (await render({}, { chart })).flatMap(({ spec }) => spec?.template?.spec.containers ?? []).map(({ image }) => image);
    const ours = images.filter((image) => !image.startsWith('registry.k8s.io/'));
    expect(new Set(ours)).toStrictEqual(new Set([`${REPOSITORY}@${manifestDigest}`]));
    expect(basename(chart)).toBe(`aoe-csi-${/^version: (.*)$/m.exec(readFileSync(join(CHART, 'Chart.yaml'), 'utf8'))?.[1]}.tgz`);
  });

  it('has a bill of materials with the packages of every kind', () => {
    const [path = ''] = globSync(`${OUT}/*.cdx.json`);
    const { components, metadata } = json(path);
    expect(metadata.component.hashes[0].content).toBe(manifestDigest.slice('sha256:'.length));
    const names = components.map(({ purl }: { purl: string }) => purl.replace(/@[^@]*$/, ''));
    for (const expected of ['pkg:deb/debian/lvm2', 'pkg:npm/node', 'pkg:npm/koffi', 'pkg:npm/%40grpc/grpc-js', 'pkg:cargo/io-uring'])
      expect(names).toContain(expected);
    expect(names.filter((name: string) => /jest|typescript|proptest/.test(name))).toStrictEqual([]);
  });

  it('has the kubectl plugin, which starts by itself, and the manifest for krew with its checksum', () => {
    expect(execFileSync(join(OUT, 'kubectl-aoe'), ['--help'], { encoding: 'utf8' })).toMatch(/^kubectl aoe: /);
    const [archive = ''] = globSync(`${OUT}/kubectl-aoe-*.tar.gz`);
    expect(execFileSync('tar', ['-tzf', archive], { encoding: 'utf8' })).toBe('LICENSE\nkubectl-aoe\n');
    const [sum = ''] = execFileSync('sha256sum', [archive], { encoding: 'utf8' }).split(' ');
    const [platform] = parse(readFileSync(join(OUT, 'aoe.yaml'), 'utf8')).spec.platforms;
    expect(platform.sha256).toBe(sum);
    expect(platform.uri.endsWith(`/${basename(archive)}`)).toBe(true);
  });

  it('has checksums of all its files', () => {
    expect(execFileSync('sha256sum', ['--check', '--strict', 'SHA256SUMS'], { cwd: OUT, encoding: 'utf8' })).not.toMatch('FAILED');
  });
});
