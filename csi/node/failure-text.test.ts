import { failureText } from './failure-text.ts';

test('failureText() is what the program wrote, on one line, else the message', () => {
  expect(failureText(Object.assign(new Error('exit status 1'), { stderr: ' no such\n  device \n' }))).toBe('no such; device');
  expect(failureText(Object.assign(new Error('took too long'), { stderr: '' }))).toBe('took too long');
  expect(failureText('x')).toBe('x');
});
