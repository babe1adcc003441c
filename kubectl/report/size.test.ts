import { sizeText } from './size.ts';

describe('sizeText', () => {
  it.each([
    [[], '0'],
    [['1Gi'], '1Gi'],
    [['1Gi', '512Mi'], '1.5Gi'],
    [['1000'], '1000'],
    [['1.5Ti', undefined, 'no size'], '1.5Ti'],
  ])('of %j is %s', (sizes, text) => expect(sizeText(...sizes)).toBe(text));
});
