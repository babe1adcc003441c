import assert from 'node:assert/strict';
import { test } from 'node:test';
import { customResourceDefinitions } from './crds.ts';
import { AOE_NODES, AOE_POOLS, AOE_VOLUMES } from './resources.ts';

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
  const names = [AOE_VOLUMES, AOE_POOLS, AOE_NODES].map(({ plural }) => `${plural}.aoe.dev`);
  assert.deepEqual(
    definitions.map(({ metadata }) => metadata.name),
    names,
  );
});

test('they are cluster-scoped, have a status of their own, and stay when the chart goes', () => {
  for (const { metadata, spec } of definitions) {
    assert.equal(spec.scope, 'Cluster');
    assert.deepEqual(spec.versions[0]?.subresources, { status: {} });
    assert.equal(metadata.annotations['helm.sh/resource-policy'], 'keep');
  }
});

test('every schema has a type, and no object with fields has free ones, too', () => {
  for (const [path, schema] of schemas) {
    assert.ok(schema.type, path);
    if (schema.properties) assert.equal(schema.additionalProperties, undefined, path);
  }
});

test('lists of objects in a status say how writers share them', () => {
  for (const [path, schema] of schemas) {
    if (path.includes('.status.') && schema.items?.type === 'object') assert.ok(schema['x-kubernetes-list-type'], path);
  }
});

test('every field of a spec is explained', () => {
  const lone = schemas.filter(([path, schema]) => /\.spec\.[^.]+$/.test(path) && !path.endsWith('[]') && !schema.description);
  assert.deepEqual(
    lone.map(([path]) => path),
    [],
  );
});
