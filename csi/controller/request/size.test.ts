import fc from 'fast-check';
import type { AoEPool } from '../../../api/pool.ts';
import { API_VERSION } from '../../../api/resources.ts';
import { RpcError } from '../../../rpc/status.ts';
import { boundsOf, chooseSize } from './size.ts';

const GIB = 1024 ** 3;
const MIB = 1024 ** 2;

function pool(...grains: string[]): AoEPool {
  return {
    apiVersion: API_VERSION,
    kind: 'AoEPool',
    metadata: { name: 'p' },
    spec: { backend: 'file', directory: '/d' },
    status: { nodes: grains.map((granularity, i) => ({ name: `n${i}`, ready: true, granularity })) },
  };
}

describe('size of a volume', () => {
  it('is 1 GiB when no size is requested', () => {
    expect(chooseSize(boundsOf(undefined), pool('4Mi'))).toBe(GIB);
    expect(chooseSize(boundsOf({}), undefined)).toBe(GIB);
  });

  it('is the requested size, to the byte: the backend rounds', () =>
    expect(chooseSize({ least: GIB + 1, most: 0 }, pool('4Mi'))).toBe(GIB + 1));

  it('keeps within a limit when it is free', () => {
    expect(chooseSize({ least: 0, most: 10 * MIB }, pool('4Mi'))).toBe(8 * MIB);
    expect(chooseSize({ least: 0, most: 5 * GIB }, pool('4Mi'))).toBe(GIB);
  });

  it('is refused when no multiple of the granularity of any node is within the bounds', () => {
    expect(() => chooseSize({ least: GIB + 1, most: GIB + MIB }, pool('4Mi'))).toThrow(
      expect.objectContaining({ code: 11, message: expect.stringMatching(/multiples of 4Mi/) }),
    );
    expect(() => chooseSize({ least: 0, most: MIB }, pool('4Mi'))).toThrow(expect.objectContaining({ code: 11 }));
    expect(chooseSize({ least: GIB + 1, most: GIB + MIB }, pool('4Mi', '1Mi'))).toBe(GIB + 1);
  });

  it('knows bounds that make no sense', () => {
    const long = (value: number) => ({ toNumber: () => value }) as never;
    expect(() => boundsOf({ requiredBytes: long(-1) })).toThrow(expect.objectContaining({ code: 3 }));
    expect(() => boundsOf({ limitBytes: long(-1) })).toThrow(expect.objectContaining({ code: 3 }));
    expect(() => boundsOf({ requiredBytes: long(2), limitBytes: long(1) })).toThrow(expect.objectContaining({ code: 11 }));
    expect(() => boundsOf({ requiredBytes: long(2 ** 60) })).toThrow(
      expect.objectContaining({ code: 11, message: expect.stringMatching(/8 PiB/) }),
    );
  });

  it('rounded up to the finest granularity is within the bounds, whatever they are', () => {
    const sizes = fc.integer({ min: 0, max: 2 ** 40 });
    fc.assert(
      fc.property(sizes, sizes, fc.constantFrom('1', '512', '1Mi', '4Mi'), (a, b, grain) => {
        const bounds = { least: Math.min(a, b), most: Math.max(a, b) };
        try {
          const bytes = chooseSize(bounds, pool(grain));
          const unit = { '1': 1, '512': 512, '1Mi': MIB, '4Mi': 4 * MIB }[grain];
          const made = Math.ceil(bytes / unit) * unit;
          expect(bytes).toBeGreaterThan(0);
          expect(made).toBeGreaterThanOrEqual(bounds.least);
          expect(bounds.most === 0 || made <= bounds.most).toBe(true);
        } catch (error) {
          expect(error).toBeInstanceOf(RpcError);
        }
      }),
    );
  });
});
