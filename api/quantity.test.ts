import fc from 'fast-check';
import { formatQuantity, parseQuantity } from './quantity.ts';

const good: [string, number][] = [
  ['0', 0],
  ['1', 1],
  ['007', 7],
  ['1k', 1000],
  ['1Ki', 1024],
  ['500M', 500e6],
  ['10Gi', 10737418240],
  ['1.5Gi', 1610612736],
  ['0.5', 1],
  ['1.0000000001k', 1001],
  ['0.1Ki', 103],
  ['2T', 2e12],
  ['7.99Pi', 8995940255672566],
  ['9007199254740991', Number.MAX_SAFE_INTEGER],
];
for (const [text, bytes] of good) {
  test(`parseQuantity() reads ${text} as ${bytes} bytes`, () => {
    expect(parseQuantity(text)).toBe(bytes);
  });
}

for (const text of [
  '',
  ' ',
  'ten',
  '-1',
  '+1',
  '1 Gi',
  '1GB',
  '1gi',
  '1K',
  '1KI',
  '.5',
  '5.',
  '1e3',
  '0x10',
  '1m',
  '1Gi ',
  '1\n',
  '１',
  'NaN',
]) {
  test(`parseQuantity() refuses ${JSON.stringify(text)}, and says what to write`, () => {
    expect(() => parseQuantity(text)).toThrow(
      expect.objectContaining({
        name: 'RangeError',
        message: expect.stringMatching(/is not a size: write a number with an optional suffix/),
      }),
    );
  });
}

for (const text of ['8Pi', '7.9999999999999999Pi', '1E', '1Ei', '9007199254740992', '9007199254740991.1', '9'.repeat(32)]) {
  test(`parseQuantity() refuses ${text}, which is too large to be exact`, () => {
    expect(() => parseQuantity(text)).toThrow(
      expect.objectContaining({ name: 'RangeError', message: expect.stringMatching(/8Pi or more/) }),
    );
  });
}

const written: [number, string][] = [
  [0, '0'],
  [1, '1'],
  [1000, '1000'],
  [1024, '1Ki'],
  [1025, '1025'],
  [10 * 2 ** 30, '10Gi'],
  [1536 * 2 ** 20, '1536Mi'],
  [2 ** 50, '1Pi'],
  [Number.MAX_SAFE_INTEGER, '9007199254740991'],
];
for (const [bytes, text] of written) {
  test(`formatQuantity() writes ${bytes} bytes as ${text}`, () => {
    expect(formatQuantity(bytes)).toBe(text);
  });
}

const sizes = fc.oneof(
  fc.maxSafeNat(),
  fc.tuple(fc.nat(4095), fc.nat(40)).map(([value, bits]) => value * 2 ** bits),
);

test('what formatQuantity() writes, parseQuantity() reads as the same number', () => {
  fc.assert(fc.property(sizes, (bytes) => parseQuantity(formatQuantity(bytes)) === bytes));
});

test('a larger number has a larger size', () => {
  const suffix = fc.constantFrom('', 'k', 'Ki', 'M', 'Mi', 'G', 'Gi');
  fc.assert(
    fc.property(
      fc.nat(1e6),
      fc.nat(1e6),
      suffix,
      (a, b, unit) => Math.sign(parseQuantity(`${a}${unit}`) - parseQuantity(`${b}${unit}`)) === Math.sign(a - b),
    ),
  );
});

test('parseQuantity() gives a whole number from 0 to 2^53 - 1, or a RangeError, whatever it is given', () => {
  const text = fc.oneof(fc.string(), fc.stringMatching(/^[0-9]{1,20}(\.[0-9]{1,20})?([KMGTPE]i?|k)?$/));
  fc.assert(
    fc.property(text, (quantity) => {
      try {
        const bytes = parseQuantity(quantity);
        expect(Number.isSafeInteger(bytes)).toBe(true);
        expect(bytes).toBeGreaterThanOrEqual(0);
      } catch (error) {
        expect(error).toBeInstanceOf(RangeError);
      }
    }),
  );
});
