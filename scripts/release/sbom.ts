import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { NAMES, type Parts } from '../../test/testbed/image/platform.ts';
import { sh } from '../../test/testbed/process/shell.ts';

const ROOT = join(import.meta.dirname, '../..');

/** A component of a CycloneDX 1.6 document (https://cyclonedx.org/docs/1.6/json/#components). */
export interface Component {
  readonly type: 'library' | 'application';
  readonly name: string;
  readonly version: string;
  /** Package URL (https://github.com/package-url/purl-spec). */
  readonly purl: string;
  readonly licenses?: readonly { readonly expression: string }[];
}

/** A package of `cargo metadata`, and what it depends on. */
interface CargoMetadata {
  readonly packages: readonly { id: string; name: string; version: string; license: string | null; source: string | null }[];
  readonly resolve: {
    readonly nodes: readonly { id: string; deps: readonly { pkg: string; dep_kinds: readonly { kind: string | null }[] }[] }[];
  };
}

/**
 * All that is in our image and not of this repository: Debian packages, Node.js, npm packages and crates.
 * @param debianPackages file with a line `PACKAGE VERSION ARCHITECTURE` for each
 */
export function componentsOfImage(debianPackages: string, { architecture, koffi }: Parts): Component[] {
  const bundled = JSON.parse(readFileSync(join(ROOT, 'dist/npm-packages.json'), 'utf8')) as string[];
  const folders = [...new Set(['node', 'koffi', ...bundled])].map((name) => join(ROOT, 'node_modules', name));
  const npm = [...folders, koffi].map((folder) => npmComponent(JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8'))));
  const platform = `${NAMES[architecture].gnu}-unknown-linux-gnu`;
  const metadata = sh(`cd '${ROOT}' && cargo metadata --format-version 1 --locked --filter-platform ${platform}`);
  const crates = ['aoe-target', 'aoe-copier'].flatMap((program) => crateComponents(JSON.parse(metadata) as CargoMetadata, program));
  return [
    ...debianComponents(readFileSync(debianPackages, 'utf8')),
    ...npm,
    ...new Map(crates.map((crate) => [crate.purl, crate])).values(),
  ].toSorted((a, b) => (a.purl < b.purl ? -1 : 1));
}

export function debianComponents(list: string): Component[] {
  return list
    .trim()
    .split('\n')
    .map((line) => {
      const [name = '', version = '', architecture = ''] = line.split(' ');
      // A version may have "+" and ":", which stand for something else in a package URL.
      const purl = `pkg:deb/debian/${encodeURIComponent(name)}@${encodeURIComponent(version)}?arch=${architecture}`;
      return { type: 'library', name, version, purl };
    });
}

export function npmComponent({ name, version, license }: { name: string; version: string; license?: string }): Component {
  const purl = `pkg:npm/${name.replace('@', '%40')}@${version}`;
  return { type: 'library', name, version, purl, ...licensed(license) };
}

/** The crates that a program is linked with: not those that only its build or its tests need. */
export function crateComponents({ packages, resolve }: CargoMetadata, program: string): Component[] {
  const dependencies = new Map(
    resolve.nodes.map(({ id, deps }) => [
      id,
      deps.flatMap(({ pkg, dep_kinds }) => (dep_kinds.some(({ kind }) => kind === null) ? [pkg] : [])),
    ]),
  );
  const linked = new Set<string>();
  const follow = (id: string): void => {
    if (linked.has(id)) return;
    linked.add(id);
    for (const each of dependencies.get(id) ?? []) follow(each);
  };
  const root = packages.find(({ name }) => name === program);
  if (!root) throw new Error(`cargo knows no package ${program}`);
  follow(root.id);
  return packages
    .filter(({ id, source }) => linked.has(id) && source !== null)
    .map(({ name, version, license }) => ({ type: 'library', name, version, purl: `pkg:cargo/${name}@${version}`, ...licensed(license) }));
}

/** A CycloneDX document about an image. It has no time and no random number, so the same inputs give the same document. */
export function billOfMaterials({
  name,
  version,
  digest,
  components,
}: {
  name: string;
  version: string;
  digest: string;
  components: readonly Component[];
}): object {
  const hash = digest.replace(/^sha256:/, '');
  return {
    bomFormat: 'CycloneDX',
    specVersion: '1.6',
    version: 1,
    metadata: {
      component: {
        type: 'container',
        'bom-ref': 'image',
        name,
        version,
        hashes: [{ alg: 'SHA-256', content: hash }],
        licenses: [{ expression: 'Apache-2.0' }],
      },
    },
    components: components.map((component) => ({ 'bom-ref': component.purl, ...component })),
    dependencies: [{ ref: 'image', dependsOn: components.map(({ purl }) => purl) }],
  };
}

/** The field of SPDX licences; some older packages name two of them with a slash. */
function licensed(license: string | null | undefined): { licenses?: [{ expression: string }] } {
  return license ? { licenses: [{ expression: license.replaceAll('/', ' OR ') }] } : {};
}
