import { Code } from '../../../rpc/status.ts';
import { limitsOf } from './limits.ts';

test('limits of a new volume are what the class says, and nothing else', () => {
  for (const [parameters, limits] of [
    [{}, {}],
    [{ iops: 'none' }, {}],
    [{ iops: '10' }, { iops: 10 }],
    [
      { readIOPS: '1000000000', writeBytesPerSecond: '65536', burstSeconds: '1' },
      { readIOPS: 1_000_000_000, writeBytesPerSecond: '64Ki', burstSeconds: 1 },
    ],
    [
      { iops: 'none', readIOPS: '20', bytesPerSecond: '1.5Mi' },
      { readIOPS: 20, bytesPerSecond: '1536Ki' },
    ],
  ] as const)
    expect(limitsOf(parameters)).toStrictEqual(limits);
});

for (const [parameters, message] of [
  [{ iops: '0' }, 'iops is "0": it must be a whole number from 10 to 1000000000, or "none" for no limit'],
  [{ iops: '1' }, 'iops is "1": it must be a whole number from 10'],
  [{ writeIOPS: '18446744073709551616' }, 'writeIOPS is "18446744073709551616": it must be'],
  [{ iops: '-100' }, 'iops is "-100"'],
  [{ iops: '1e3' }, 'iops is "1e3"'],
  [{ iops: '' }, 'iops is ""'],
  [{ bytesPerSecond: '0' }, 'bytesPerSecond is "0": it must be a quantity from 64Ki to less than 8Pi'],
  [{ readBytesPerSecond: '8Pi' }, 'readBytesPerSecond is "8Pi"'],
  [{ writeBytesPerSecond: '10 MB' }, 'writeBytesPerSecond is "10 MB"'],
  [{ burstSeconds: '3601', iops: '100' }, 'burstSeconds is "3601": it must be a whole number from 1 to 3600'],
  [{ burstSeconds: '5' }, 'burstSeconds does nothing without a limit'],
  [{ iops: '100', writeIOPS: '100' }, 'writeIOPS and iops exclude each other'],
  [{ bytesPerSecond: '1Mi', readBytesPerSecond: '1Mi' }, 'readBytesPerSecond and bytesPerSecond exclude each other'],
  [{ throughput: '1' }, 'parameter throughput is not known: use iops, readIOPS'],
  [{ '': '1' }, 'parameter  is not known'],
  [{ '\0\u00e4': '1' }, 'parameter ?? is not known'],
  [{ ['k'.repeat(4 << 20)]: '1' }, `parameter ${'k'.repeat(60)}... is not known`],
  [{ iops: '9'.repeat(4 << 20) }, `iops is "${'9'.repeat(60)}..."`],
  [{ constructor: '1' }, 'parameter constructor is not known'],
] as const) {
  test(`refused: ${message}`, () => {
    const refused = { code: Code.INVALID_ARGUMENT, message: expect.stringContaining(message) };
    expect(() => limitsOf(parameters as never)).toThrow(expect.objectContaining(refused));
  });
}
