import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
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
    for (let frame = 0; frame < 100; frame++) assert.deepEqual(fate(CLEAR, next), [0]);
  });

  it('loses, repeats and holds the share that the weather says', () => {
    const loss = play('loss');
    assert.ok(Math.abs(loss.lost - 0.15) < 0.02);
    assert.equal(loss.longest, 0);
    const duplicate = play('duplicate');
    assert.ok(Math.abs(duplicate.copies - 1.3) < 0.02);
    assert.ok(duplicate.longest > 390 && duplicate.longest < 400);
    const late = play('late');
    assert.equal(late.lost, 0);
    assert.ok(late.longest > 3_900);
  });
});
