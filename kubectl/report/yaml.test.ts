import fc from 'fast-check';
import { parse } from 'yaml';
import { toYaml } from './yaml.ts';

describe('toYaml', () => {
  it('writes blocks that people can read', () => {
    expect(toYaml({ locks: [{ volume: 'pvc-1', since: '2026-11-28T11:00:00Z', note: undefined, count: 1 }], none: [], empty: {} })).toBe(
      'locks:\n  - volume: pvc-1\n    since: "2026-11-28T11:00:00Z"\n    count: 1\nnone: []\nempty: {}\n',
    );
  });

  it.each(['1.1', '1.2'] as const)('is read as the same value by YAML %s, whatever is in it', (version) => {
    const text = fc.oneof(
      fc.string({ unit: 'grapheme' }),
      fc.constantFrom('null', 'yes', '1e3', '0x1', '- a', 'a: b', 'a #b', '~', '1:30', '=', '<<', '.5'),
    );
    const value = fc.letrec((tie) => ({
      any: fc.oneof({ maxDepth: 3 }, text, fc.integer(), fc.boolean(), fc.constant(null), tie('list'), tie('map')),
      list: fc.array(tie('any'), { maxLength: 3 }),
      map: fc.dictionary(
        text.filter((key) => key !== '__proto__' && key !== '<<'),
        tie('any'),
        { maxKeys: 3 },
      ),
    }));
    fc.assert(
      fc.property(value.any, (each) =>
        expect(parse(toYaml(each), { version, merge: false })).toStrictEqual(JSON.parse(JSON.stringify(each))),
      ),
    );
  });
});
