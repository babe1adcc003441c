import { parseReport, reportArgs } from './report.ts';

const GROUP = {
  vg_name: 'vg0',
  vg_size: '400',
  vg_free: '100',
  vg_extent_size: '4',
  vg_missing_pv_count: '1',
  vg_mda_size: '1044480',
  vg_mda_free: '520192',
};
const VOLUME = {
  lv_name: 'aoe-1',
  lv_size: '8',
  lv_tags: 'aoe.dev,aoe.dev/new',
  lv_active: 'active',
  pool_lv: 'tp',
  lv_layout: 'thin,sparse',
};
const report = (...rows: object[]): string => JSON.stringify({ report: [{ vg: rows }] });

test('a group with its volumes is read', () => {
  const group = parseReport(report({ ...GROUP, ...VOLUME, data_percent: '', zero: 'unknown', lv_health_status: '' }));
  expect(group).toStrictEqual({
    name: 'vg0',
    size: 400,
    free: 100,
    extent: 4,
    missingDisks: 1,
    metadataSize: 1_044_480,
    metadataFree: 520_192,
    volumes: [
      {
        name: 'aoe-1',
        bytes: 8,
        tags: ['aoe.dev', 'aoe.dev/new'],
        active: true,
        pool: 'tp',
        layout: ['thin', 'sparse'],
        zeroes: false,
        health: '',
      },
    ],
  });
});

test('a volume in several segments, as one that has grown may be, is one volume', () => {
  const rows = [VOLUME, VOLUME, { ...VOLUME, lv_name: 'aoe-2' }].map((row) => ({ ...GROUP, ...row }));
  expect(parseReport(report(...rows))?.volumes.map(({ name }) => name)).toStrictEqual(['aoe-1', 'aoe-2']);
});

test('a thin pool says how full it is, whether it zeroes blocks, and how it is', () => {
  const pool = {
    lv_name: 'tp',
    lv_size: '64',
    lv_active: '',
    lv_layout: 'thin,pool',
    data_percent: '5.00',
    metadata_percent: '1.00',
    lv_metadata_size: '4',
    chunk_size: '2',
    zero: 'zero',
  };
  const [volume] = parseReport(report({ ...GROUP, ...pool, lv_health_status: 'partial' }))?.volumes ?? [];
  expect(volume).toMatchObject({
    active: false,
    dataPercent: '5.00',
    metadataPercent: '1.00',
    metadataBytes: 4,
    chunk: 2,
    zeroes: true,
    health: 'partial',
    tags: [],
  });
});

test('a copy-on-write snapshot names its origin, and says when it is lost; LVM does not know that of others', () => {
  const rows = [
    ['aoe-1', '', 'unknown'],
    ['good', 'aoe-1', ''],
    ['bad', 'aoe-1', 'snapshot invalid'],
  ].map(([lv_name, origin, lv_snapshot_invalid]) => ({ ...GROUP, ...VOLUME, lv_name, origin, lv_snapshot_invalid }));
  const found = parseReport(report(...rows))?.volumes.map(({ name, origin, isInvalid }) => [name, origin, isInvalid]);
  expect(found).toStrictEqual([
    ['aoe-1', undefined, undefined],
    ['good', 'aoe-1', undefined],
    ['bad', 'aoe-1', true],
  ]);
});

test('a group without volumes has none, and a report without rows no group', () => {
  expect(parseReport(report(GROUP))?.volumes).toStrictEqual([]);
  expect(parseReport(report())).toBeUndefined();
});

for (const [what, json] of [
  ['no report', '{}'],
  ['no JSON', 'WARNING: x'],
  ['a size that is none', report({ ...GROUP, vg_size: '4g' })],
  ['a size that is missing', report({ ...GROUP, vg_free: undefined })],
] as const) {
  test(`${what} is refused`, () => expect(() => parseReport(json)).toThrow(SyntaxError));
}

test('fields of volumes are asked for only with volumes', () => {
  expect(reportArgs('vg0', { volumes: false }).join(' ')).not.toContain('lv_name');
  expect(reportArgs('vg0', { volumes: true }).join(' ')).toMatch(/--units b --nosuffix .*lv_name.* vg0$/);
});
