import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { parse } from 'yaml';
import { krewManifest } from './krew.ts';

const template = readFileSync(join(import.meta.dirname, '../../deploy/krew/aoe.yaml'), 'utf8');
const release = {
  version: '1.2.3',
  repository: 'someone/aoe-csi',
  url: 'https://example.org/kubectl-aoe-1.2.3.tar.gz',
  sha256: 'a'.repeat(64),
};

describe('the krew manifest', () => {
  it('has all that krew requires', () => {
    const { apiVersion, kind, metadata, spec } = parse(krewManifest(template, release));
    expect({ apiVersion, kind, metadata }).toStrictEqual({
      apiVersion: 'krew.googlecontainertools.github.com/v1alpha2',
      kind: 'Plugin',
      metadata: { name: 'aoe' },
    });
    expect(spec).toMatchObject({ version: 'v1.2.3', homepage: 'https://github.com/someone/aoe-csi' });
    expect(spec.shortDescription.length).toBeLessThan(60);
    expect(spec.platforms).toMatchObject([{ uri: release.url, sha256: release.sha256, bin: 'kubectl-aoe' }]);
  });

  it('is refused when something would stay blank', () => {
    expect(() => krewManifest(`# comment\n{{OTHER}}`, release)).toThrow('{{OTHER}}');
  });
});
