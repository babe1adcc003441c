import { age } from './age.ts';

describe('age', () => {
  const ago = (seconds: number) => age(new Date(1_000_000_000_000 - seconds * 1000).toISOString(), 1_000_000_000_000);

  it.each([
    [0, '0s'],
    [45, '45s'],
    [185, '3m5s'],
    [3600, '1h'],
    [7265, '2h1m'],
    [4 * 86_400 + 7200, '4d2h'],
    [-30, '0s'],
  ])('of %d s is %s', (seconds, text) => expect(ago(seconds)).toBe(text));

  it('is not known without a time', () => {
    expect(age(undefined, 0)).toBe('?');
    expect(age('yesterday', 0)).toBe('?');
  });
});
