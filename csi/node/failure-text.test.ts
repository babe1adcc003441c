import assert from 'node:assert/strict';
import { test } from 'node:test';
import { failureText } from './failure-text.ts';

test('failureText() is what the program wrote, on one line, else the message', () => {
  assert.equal(failureText(Object.assign(new Error('exit status 1'), { stderr: ' no such\n  device \n' })), 'no such; device');
  assert.equal(failureText(Object.assign(new Error('took too long'), { stderr: '' })), 'took too long');
  assert.equal(failureText('x'), 'x');
});
