import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setCondition } from './conditions.ts';

const before = { type: 'Ready', status: 'True', reason: 'Old', message: 'old', lastTransitionTime: '2020-01-01T00:00:00Z' } as const;

test('the time of transition stays while the status does, whatever else changes', () => {
  const next = setCondition([before], { type: 'Ready', status: 'True', reason: 'New', message: 'new', observedGeneration: 3 });
  assert.deepEqual(next, { ...before, reason: 'New', message: 'new', observedGeneration: 3 });
});

test('another status gets the present time, in whole seconds', () => {
  const next = setCondition([before], { type: 'Ready', status: 'False', reason: 'New', message: 'new' });
  assert.match(next.lastTransitionTime, /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/);
  assert.ok(Math.abs(Date.parse(next.lastTransitionTime) - Date.now()) < 5_000);
  assert.ok(!('observedGeneration' in next));
});

test('a condition of another type is not looked at, and none is needed', () => {
  const next = { type: 'Placed', status: 'True', reason: 'A', message: 'b' } as const;
  assert.notEqual(setCondition([before], next).lastTransitionTime, before.lastTransitionTime);
  assert.deepEqual(Object.keys(setCondition(undefined, next)), ['type', 'status', 'reason', 'message', 'lastTransitionTime']);
});
