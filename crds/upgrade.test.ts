import { customResourceDefinitions } from '../api/schema/crds.ts';
import { type Definition, lostFields, type Schema } from './upgrade.ts';

const definition = (schema: Schema, version = 'v1'): Definition => ({
  metadata: { name: 'things.example.org' },
  spec: { versions: [{ name: version, schema: { openAPIV3Schema: schema } }] },
});
const of = (properties: Record<string, Schema>): Schema => ({ properties });
const lost = (live: Schema, next: Schema) => lostFields(definition(live), definition(next));

test('nothing is lost in a schema that has the same fields, or more', () => {
  expect(lost(of({ spec: of({ size: {} }) }), of({ spec: of({ size: {}, color: {} }), status: {} }))).toStrictEqual([]);
});

test('a field that is gone is named, wherever it is', () => {
  expect(lost(of({ spec: of({ size: {}, color: {} }) }), of({ spec: of({ size: {} }) }))).toStrictEqual(['v1.spec.color']);
  expect(lost(of({ list: { items: of({ a: {}, b: {} }) } }), of({ list: { items: of({ a: {} }) } }))).toStrictEqual(['v1.list[].b']);
  expect(lost(of({ map: { additionalProperties: of({ a: {} }) } }), of({ map: { additionalProperties: {} } }))).toStrictEqual([
    'v1.map{}.a',
  ]);
  expect(lost(of({ status: of({}) }), of({}))).toStrictEqual(['v1.status']);
});

test('a field with the name of a method of objects is a field like any other', () => {
  expect(lost(of({ constructor: {} }), of({}))).toStrictEqual(['v1.constructor']);
});

test('a version that is gone is lost whole', () => {
  expect(lostFields(definition({}, 'v2'), definition({}, 'v1'))).toStrictEqual(['v2']);
});

test('the definitions of the chart lose nothing when they replace themselves', () => {
  for (const each of customResourceDefinitions() as unknown as Definition[]) expect(lostFields(each, each)).toStrictEqual([]);
});
