import { AOE_NODES, AOE_POOLS, AOE_SNAPSHOTS, AOE_VOLUMES } from '../resources.ts';
import { customResourceDefinitions } from './crds.ts';

interface Schema {
  type?: string;
  properties?: Record<string, Schema>;
  items?: Schema;
  additionalProperties?: unknown;
  description?: string;
  'x-kubernetes-list-type'?: string;
}
interface Definition {
  metadata: { name: string; annotations: Record<string, string> };
  spec: {
    scope: string;
    names: { kind: string };
    versions: { subresources: object; schema: { openAPIV3Schema: { properties: Record<string, Schema> } } }[];
  };
}

const definitions = customResourceDefinitions() as unknown as Definition[];

/** Every schema in a schema, with the path to it. */
function* walk(schema: Schema, path: string): Generator<[string, Schema]> {
  yield [path, schema];
  for (const [name, each] of Object.entries(schema.properties ?? {})) yield* walk(each, `${path}.${name}`);
  if (schema.items) yield* walk(schema.items, `${path}[]`);
}

const schemas = definitions.flatMap(({ spec: { names, versions } }) =>
  Object.entries(versions[0]?.schema.openAPIV3Schema.properties ?? {}).flatMap(([name, each]) => [...walk(each, `${names.kind}.${name}`)]),
);

test('there is a definition of each resource type, named by it', () => {
  const names = [AOE_VOLUMES, AOE_SNAPSHOTS, AOE_POOLS, AOE_NODES].map(({ plural }) => `${plural}.aoe.dev`);
  expect(definitions.map(({ metadata }) => metadata.name)).toStrictEqual(names);
});

test('they are cluster-scoped, have a status of their own, and stay when the chart goes', () => {
  for (const { metadata, spec } of definitions) {
    expect(spec.scope).toBe('Cluster');
    expect(spec.versions[0]?.subresources).toStrictEqual({ status: {} });
    expect(metadata.annotations['helm.sh/resource-policy']).toBe('keep');
  }
});

test('every schema has a type, and no object with fields has free ones, too', () => {
  for (const [path, schema] of schemas) {
    expect(schema.type, path).toBeTruthy();
    if (schema.properties) expect(schema.additionalProperties, path).toBeUndefined();
  }
});

test('lists of objects in a status say how writers share them', () => {
  for (const [path, schema] of schemas) {
    if (path.includes('.status.') && schema.items?.type === 'object') expect(schema['x-kubernetes-list-type'], path).toBeTruthy();
  }
});

test('every field of a spec is explained', () => {
  const lone = schemas.filter(([path, schema]) => /\.spec\.[^.]+$/.test(path) && !path.endsWith('[]') && !schema.description);
  expect(lone.map(([path]) => path)).toStrictEqual([]);
});
