import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { parse } from 'yaml';
import { pinned } from './chart.ts';

const VALUES = readFileSync(join(import.meta.dirname, '../../charts/aoe-csi/values.yaml'), 'utf8');

test('the values of a release name its image, and are otherwise those of the chart, with their comments', () => {
  const text = pinned(VALUES, { repository: 'registry.example/aoe-csi', digest: 'sha256:abc' });
  const before = parse(VALUES);
  const image = { ...before.image, repository: 'registry.example/aoe-csi', digest: 'sha256:abc' };
  expect(parse(text)).toStrictEqual({ ...before, image });
  const comments = (yaml: string) => yaml.split('\n').filter((line) => line.includes('# '));
  expect(comments(text)).toHaveLength(comments(VALUES).length);
  expect(text).not.toMatch('There is no public image');
});
