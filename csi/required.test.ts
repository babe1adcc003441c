import { Code } from '../rpc/status.ts';
import { required } from './required.ts';

test('required() gives a value, and refuses an empty or missing one by the name of its field', () => {
  expect(required('v', 'volume_id')).toBe('v');
  for (const value of ['', null, undefined])
    expect(() => required(value, 'volume_id')).toThrow(
      expect.objectContaining({ code: Code.INVALID_ARGUMENT, message: 'volume_id is missing' }),
    );
});
