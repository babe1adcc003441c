import { Code } from '../../../rpc/status.ts';
import { parsePublishContext } from './publish-context.ts';

const context = { address: 'e7.3', serial: 'S1', volumeUID: 'u', access: 'Exclusive', external: 'false' };

test('parsePublishContext() reads what ControllerPublishVolume wrote', () => {
  expect(parsePublishContext(context)).toStrictEqual({ ...context, external: false, target: { shelf: 7, slot: 3 } });
  expect(parsePublishContext({ ...context, serial: '', external: 'true' })).toMatchObject({ serial: undefined, external: true });
});

for (const [what, change, message] of [
  ['no address', { address: '' }, /publish_context\.address is missing/],
  ['a wrong address', { address: 'e7' }, /e7/],
  ['no UID', { volumeUID: '' }, /publish_context\.volumeUID is missing/],
  ['an unknown access', { access: 'Some' }, /"Some" is not known/],
] as const) {
  test(`parsePublishContext() refuses ${what}`, () => {
    expect(() => parsePublishContext({ ...context, ...change })).toThrow(
      expect.objectContaining({ code: Code.INVALID_ARGUMENT, message: expect.stringMatching(message) }),
    );
  });
}
