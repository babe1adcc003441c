import { billOfMaterials, crateComponents, debianComponents, npmComponent } from './sbom.ts';

test('a Debian package has a package URL, whatever its version looks like', () => {
  expect(debianComponents('libstdc++6 1:12.2.0-14+deb12u1 amd64\n')).toStrictEqual([
    {
      type: 'library',
      name: 'libstdc++6',
      version: '1:12.2.0-14+deb12u1',
      purl: 'pkg:deb/debian/libstdc%2B%2B6@1%3A12.2.0-14%2Bdeb12u1?arch=amd64',
    },
  ]);
});

test('an npm package of a scope has a package URL', () => {
  expect(npmComponent({ name: '@grpc/grpc-js', version: '1.2.3', license: 'Apache-2.0' })).toStrictEqual({
    type: 'library',
    name: '@grpc/grpc-js',
    version: '1.2.3',
    purl: 'pkg:npm/%40grpc/grpc-js@1.2.3',
    licenses: [{ expression: 'Apache-2.0' }],
  });
});

test('of the crates, those are named that the program is linked with', () => {
  const crate = (name: string, source: string | null = 'registry') => ({
    id: name,
    name,
    version: '1.0.0',
    license: 'MIT/Apache-2.0',
    source,
  });
  const dependency = (pkg: string, kind: string | null = null) => ({ pkg, dep_kinds: [{ kind }] });
  const metadata = {
    packages: [crate('program', null), crate('linked'), crate('below'), crate('build-only'), crate('test-only'), crate('of-another')],
    resolve: {
      nodes: [
        { id: 'program', deps: [dependency('linked'), dependency('build-only', 'build'), dependency('test-only', 'dev')] },
        { id: 'linked', deps: [dependency('below')] },
        { id: 'below', deps: [dependency('linked')] },
      ],
    },
  };
  const components = crateComponents(metadata, 'program');
  expect(components.map(({ name }) => name)).toStrictEqual(['linked', 'below']);
  expect(components[0]?.licenses).toStrictEqual([{ expression: 'MIT OR Apache-2.0' }]);
  expect(() => crateComponents(metadata, 'absent')).toThrow('cargo knows no package absent');
});

test('the document names the image by its digest, and refers to every component', () => {
  const components = debianComponents('a 1 amd64\nb 2 amd64');
  const document = billOfMaterials({ name: 'r/i', version: '1', digest: 'sha256:abc', components }) as Record<string, never>;
  expect(document).toMatchObject({
    metadata: { component: { name: 'r/i', hashes: [{ content: 'abc' }] } },
    dependencies: [{ ref: 'image', dependsOn: components.map(({ purl }) => purl) }],
  });
});
