import fc from 'fast-check';
import { differences, type Extent, written } from './compare-extents.ts';

const SIZE = 24;

/** What each byte of a file is: undefined for a zero, a number for a place on the disk, 'unknown' for data whose place is not known. */
type Model = (number | 'unknown' | undefined)[];

function extentsOf(model: Model): Extent[] {
  return model.flatMap((place, offset) =>
    place === undefined ? [] : [{ offset, bytes: 1, ...(place === 'unknown' ? {} : { physical: place }) }],
  );
}

/** The same extents, those joined that may be one: as another file system might tell them. */
function joined(extents: readonly Extent[]): Extent[] {
  const found: Extent[] = [];
  for (const each of extents) {
    const last = found.at(-1);
    const touches = last && last.offset + last.bytes === each.offset && last.physical !== undefined;
    if (touches && last.physical + last.bytes === each.physical) found[found.length - 1] = { ...last, bytes: last.bytes + each.bytes };
    else found.push(each);
  }
  return found;
}

const place = fc.option(fc.oneof(fc.nat({ max: 30 }), fc.constant('unknown' as const)), { nil: undefined });
const model: fc.Arbitrary<Model> = fc.array(place, { minLength: SIZE, maxLength: SIZE });
/** A file, and one in which some bytes are in another place. */
const pair = fc.tuple(model, fc.array(fc.tuple(fc.nat({ max: SIZE - 1 }), place))).map(([base, changes]) => {
  const target = [...base];
  for (const [at, now] of changes) target[at] = now;
  return [base, target] as const;
});

describe('the differences of two files', () => {
  it('are the bytes that are not known to be alike, however the extents are cut', () => {
    fc.assert(
      fc.property(pair, fc.boolean(), fc.boolean(), fc.nat({ max: SIZE }), fc.nat({ max: SIZE }), ([base, target], a, b, from, to) => {
        const [left, right] = [extentsOf(base), extentsOf(target)];
        const found = differences(a ? joined(left) : left, b ? joined(right) : right, from, to);
        const bytes = found.flatMap((range) => Array.from({ length: range.bytes }, (_, each) => range.offset + each));
        const expected = base.flatMap((is, at) => (at >= from && at < to && (is !== target[at] || is === 'unknown') ? [at] : []));
        expect(bytes).toStrictEqual(expected);
        // Ranges are as long as they can be.
        const gaps = found.slice(1).map(({ offset }, each) => offset - ((found[each]?.offset ?? 0) + (found[each]?.bytes ?? 0)));
        expect(gaps.filter((gap) => gap <= 0)).toStrictEqual([]);
      }),
    );
  });

  it('are all that holds data, when the other file holds none', () => {
    const extents = [
      { offset: 2, bytes: 3, physical: 9 },
      { offset: 5, bytes: 1 },
      { offset: 9, bytes: 100, physical: 50 },
    ];
    expect(written(extents, 3, 20)).toStrictEqual([
      { offset: 3, bytes: 3 },
      { offset: 9, bytes: 11 },
    ]);
  });
});
