import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { parse } from 'yaml';
import { chartImages, referenceOf } from '../../scripts/docs/images.ts';
import { VALUES } from '../docs/yaml.ts';
import { CHART, containers, render, SNAPSHOT_API } from './helm.ts';

/** Paths of all values, the same from values.yaml and from the schema: maps that the user fills are one value. */
const leavesOf = (value: unknown, below: (value: object) => object | undefined, path = ''): string[] => {
  const inner =
    value !== null &&
    typeof value === 'object' &&
    !Array.isArray(value) &&
    !/(resources|odeSelector|parameters|dashboards\.labels)$/.test(path)
      ? below(value)
      : undefined;
  if (!inner || Object.keys(inner).length === 0) return [path];
  return Object.entries(inner).flatMap(([key, each]) => leavesOf(each, below, path ? `${path}.${key}` : key));
};

describe('the documentation of the chart', () => {
  const values = leavesOf(parse(readFileSync(join(CHART, 'values.yaml'), 'utf8')), (value) => value);

  it('lists every value in its README, and none that is not there', () => {
    const listed = [...readFileSync(join(CHART, 'README.md'), 'utf8').matchAll(/^\| `([^`]+)`/gm)].map((match) => match[1] ?? '');
    expect(listed.toSorted()).toStrictEqual(values.toSorted());
  });

  it('describes every value in the schema, and none but those that a parent chart adds', () => {
    const schema = JSON.parse(readFileSync(join(CHART, 'values.schema.json'), 'utf8'));
    const described = leavesOf(schema, (each: { $ref?: string; properties?: object }) =>
      each.$ref ? schema.definitions[each.$ref.replace('#/definitions/', '')].properties : each.properties,
    );
    expect(described.toSorted()).toStrictEqual([...values, 'enabled', 'global'].toSorted());
  });

  it('names every image that a pod uses, for those without internet, and no other', async () => {
    const used = containers(await render({}, { apis: SNAPSHOT_API })).map(({ image }) => String(image));
    expect([...new Set(used)].toSorted()).toStrictEqual(chartImages().map(referenceOf).toSorted());
  });

  for (const { where, content } of VALUES)
    it(`has values at ${where} that the chart takes`, async () => expect(await render(content)).not.toHaveLength(0));
});
