import { setCondition } from './conditions.ts';

const before = { type: 'Ready', status: 'True', reason: 'Old', message: 'old', lastTransitionTime: '2020-01-01T00:00:00Z' } as const;

test('the time of transition stays while the status does, whatever else changes', () => {
  const next = setCondition([before], { type: 'Ready', status: 'True', reason: 'New', message: 'new', observedGeneration: 3 });
  expect(next).toStrictEqual({ ...before, reason: 'New', message: 'new', observedGeneration: 3 });
});

test('another status gets the present time, in whole seconds', () => {
  const next = setCondition([before], { type: 'Ready', status: 'False', reason: 'New', message: 'new' });
  expect(next.lastTransitionTime).toMatch(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/);
  expect(Math.abs(Date.parse(next.lastTransitionTime) - Date.now())).toBeLessThan(5_000);
  expect('observedGeneration' in next).toBe(false);
});

test('a message that no API server would take is cut, so that the rest of a status can be written', () => {
  const { message } = setCondition([before], { type: 'Ready', status: 'False', reason: 'New', message: 'x'.repeat(40_000) });
  expect(message).toMatch(/^x{4095}…$/);
});

test('a condition of another type is not looked at, and none is needed', () => {
  const next = { type: 'Placed', status: 'True', reason: 'A', message: 'b' } as const;
  expect(setCondition([before], next).lastTransitionTime).not.toBe(before.lastTransitionTime);
  expect(Object.keys(setCondition(undefined, next))).toStrictEqual(['type', 'status', 'reason', 'message', 'lastTransitionTime']);
});
