import { random } from './random.ts';
import { CLEAR, fate, WEATHER } from './weather.ts';

const FRAMES = 10_000;

function play(how: keyof typeof WEATHER) {
  const next = random(1);
  const fates = Array.from({ length: FRAMES }, () => fate(WEATHER[how], next));
  const delays = fates.flat();
  return { lost: fates.filter((each) => each.length === 0).length / FRAMES, copies: delays.length / FRAMES, longest: Math.max(...delays) };
}

describe('fate()', () => {
  it('delivers every frame once and at once in clear weather', () => {
    const next = random(7);
    for (let frame = 0; frame < 100; frame++) expect(fate(CLEAR, next)).toStrictEqual([0]);
  });

  it('loses, repeats and holds the share that the weather says', () => {
    const loss = play('loss');
    expect(Math.abs(loss.lost - 0.15)).toBeLessThan(0.02);
    expect(loss.longest).toBe(0);
    const duplicate = play('duplicate');
    expect(Math.abs(duplicate.copies - 1.3)).toBeLessThan(0.02);
    expect(duplicate.longest).toBeGreaterThan(390);
    expect(duplicate.longest).toBeLessThan(400);
    const late = play('late');
    expect(late.lost).toBe(0);
    expect(late.longest).toBeGreaterThan(3_900);
  });
});
