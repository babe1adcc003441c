import { parseTakeoverAfter, takeoverAfterMs } from './after.ts';

test('a silence is whole seconds from 20s to 9999s, or Never', () => {
  expect(['20s', '30s', '300s', '9999s', 'Never'].map(parseTakeoverAfter)).toStrictEqual([20_000, 30_000, 300_000, 9_999_000, undefined]);
  for (const text of ['', '30', '19s', '5s', '020s', '10000s', '1m', '30S', '2.5s', '-30s', ' 30s', '30s\n', 'never', '0s'])
    expect(() => parseTakeoverAfter(text), JSON.stringify(text)).toThrow(`"${text}" is neither a time from 20s to 9999s`);
});

test("a volume's own value comes before that of the cluster", () => {
  expect(takeoverAfterMs({}, 30_000)).toBe(30_000);
  expect(takeoverAfterMs({}, undefined)).toBeUndefined();
  expect(takeoverAfterMs({ takeoverAfter: '60s' }, 30_000)).toBe(60_000);
  expect(takeoverAfterMs({ takeoverAfter: '60s' }, undefined)).toBe(60_000);
  expect(takeoverAfterMs({ takeoverAfter: 'Never' }, 30_000)).toBeUndefined();
});
