import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { parse } from 'yaml';
import { kitVersion, sidecars } from './kit.ts';
import { ROOT } from './paths.ts';

const textOf = (path: string) => readFileSync(join(ROOT, path), 'utf8');

describe('the versions of the kit', () => {
  const kubernetes = kitVersion('k8s.io/kubernetes').slice(1);
  const minor = kubernetes.split('.').slice(0, 2).join('.');

  it('are those of the sidecars in the chart', () => {
    const { controller } = parse(textOf('charts/aoe-csi/values.yaml'));
    const inChart = Object.values<{ image?: { repository: string; tag: string } }>(controller).flatMap(({ image }) => image ?? []);
    expect(inChart.length).toBeGreaterThanOrEqual(2);
    for (const { repository, tag } of inChart) {
      const { version } = sidecars.find(({ name }) => repository === `registry.k8s.io/sig-storage/${name}`) ?? {};
      expect(tag, repository).toBe(version);
    }
  });

  it('are those that the documents name', () => {
    const install = textOf('docs/install.md');
    expect(install).toContain(`Kubernetes ${kubernetes} `);
    for (const page of [install, textOf('README.md')]) expect(page).toContain(`tested with ${minor}`);
    for (const [, name = '', version] of install.matchAll(/(csi-[a-z]+) (\d+\.\d+\.\d+)/g))
      expect(`v${version}`, name).toBe(sidecars.find((sidecar) => sidecar.name === name)?.version);
  });

  it('fails for a module that it does not have', () => {
    expect(() => kitVersion('example.com/none')).toThrow('example.com/none is not in');
  });
});
