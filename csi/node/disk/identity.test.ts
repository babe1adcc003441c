import { Code } from '../../../rpc/status.ts';
import { FakeSegment, FakeWire } from '../testing/fakes.ts';
import { checkSerial, oneRightDisk } from './identity.ts';

type Target = NonNullable<ReturnType<FakeSegment['targets']['get']>>[number];
const target = (change: Partial<Target> = {}): Target => ({
  serial: 'S1',
  bytes: 1 << 20,
  mac: '02:00:00:00:00:01',
  content: { kind: 'nothing' },
  blank: true,
  ...change,
});

function survey(...targets: Target[]) {
  const segment = new FakeSegment();
  segment.targets.set('e7.3', targets);
  return new FakeWire(segment).survey({ shelf: 7, slot: 3 });
}
const ours = { serial: 'S1', external: false };
const other = { mac: '02:00:00:00:00:02' };

test('oneRightDisk() gives serial number and size of the one disk that answers, on one path or several', async () => {
  expect(oneRightDisk('v', await survey(target()), ours)).toStrictEqual({ serial: 'S1', bytes: 1 << 20 });
  expect(oneRightDisk('v', await survey(target(), target(other)), ours).serial).toBe('S1');
});

for (const [what, targets, expected, code, message] of [
  ['no target', [], ours, Code.UNAVAILABLE, /no target answers/],
  ['a wrong serial number', [target({ serial: 'S2' })], ours, Code.FAILED_PRECONDITION, /wrong disk/],
  ['two serial numbers', [target(), target({ ...other, serial: 'S2' })], ours, Code.FAILED_PRECONDITION, /two disks answer/],
  ['two sizes', [target(), target({ ...other, bytes: 2 << 20 })], ours, Code.FAILED_PRECONDITION, /two disks answer/],
  ['two config strings', [target(), target({ ...other, otherString: 'x' })], ours, Code.FAILED_PRECONDITION, /"" *\).*differ/],
] as const) {
  test(`oneRightDisk() refuses ${what}`, async () => {
    const answers = await survey(...targets);
    expect(() => oneRightDisk('v', answers, expected)).toThrow(expect.objectContaining({ code, message: expect.stringMatching(message) }));
  });
}

test('oneRightDisk() accepts paths with different config strings of an external target', async () => {
  expect(
    oneRightDisk('v', await survey(target(), target({ ...other, otherString: 'x' })), { serial: undefined, external: true }).serial,
  ).toBe('S1');
});

test('oneRightDisk() refuses a target that does not identify its disk', async () => {
  const { configs } = await survey(target());
  expect(() => oneRightDisk('v', { configs, identities: [] }, ours)).toThrow(expect.objectContaining({ code: Code.UNAVAILABLE }));
});

test('oneRightDisk() refuses a target whose config string is not known: it may show another lock', async () => {
  const { identities } = await survey(target());
  expect(() => oneRightDisk('v', { configs: [], identities }, ours)).toThrow(
    expect.objectContaining({ code: Code.UNAVAILABLE, message: expect.stringMatching(/config string/) }),
  );
});

test('checkSerial() ignores the blanks that pad a serial number', () => {
  expect(() => checkSerial('v', 'S1', ' S1 ')).not.toThrow();
  expect(() => checkSerial('v', 'S1', undefined)).not.toThrow();
});
