import fc from 'fast-check';
import type { AoEPool } from '../../../api/pool.ts';
import { API_VERSION } from '../../../api/resources.ts';
import { type AoEVolume, LUKS_HEADER_BYTES } from '../../../api/volume.ts';
import { RpcError } from '../../../rpc/status.ts';
import { boundsOf, capacityOf, chooseSize } from './size.ts';

const GIB = 1024 ** 3;
const MIB = 1024 ** 2;
const LUKS = { encryption: 'LUKS2' } as const;

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

  it('of an encrypted volume has the header on top, and what the user gets is within the bounds', () => {
    const header = LUKS_HEADER_BYTES;
    expect(chooseSize(boundsOf(undefined), pool('4Mi'), LUKS)).toBe(GIB + header);
    expect(chooseSize({ least: 64 * MIB, most: 64 * MIB }, pool('4Mi'), LUKS)).toBe(80 * MIB);
    expect(chooseSize({ least: 100_000_001, most: 0 }, pool('1'), LUKS) % 4096, 'it is encrypted in units of 4 KiB').toBe(0);
    expect(chooseSize({ least: 0, most: 10 * MIB }, pool('4Mi'), LUKS)).toBe(8 * MIB + header);
    expect(() => chooseSize({ least: 0, most: 3 * MIB }, pool('4Mi'), LUKS)).toThrow(expect.objectContaining({ code: 11 }));
    const volume = { spec: { capacity: '80Mi', encryption: 'LUKS2' } } as AoEVolume;
    expect(capacityOf(volume)).toBe(64 * MIB);
    expect(capacityOf({ ...volume, status: { capacity: '84Mi' } })).toBe(68 * MIB);
  });

  it('of a volume with authenticated encryption has room for journal and tags, too, on any pool and within any bounds', () => {
    const of = { encryption: 'LUKS2Authenticated' } as const;
    const sizes = fc.integer({ min: 0, max: 2 ** 44 });
    fc.assert(
      fc.property(sizes, sizes, fc.constantFrom('1', '512', '1Mi', '4Mi'), fc.boolean(), (a, b, grain, limited) => {
        const bounds = { least: Math.min(a, b), most: limited ? Math.max(a, b) : 0 };
        try {
          const bytes = chooseSize(bounds, pool(grain), of);
          const has = capacityOf({ spec: { capacity: String(bytes), ...of } } as AoEVolume);
          expect(has).toBeGreaterThanOrEqual(Math.max(1, bounds.least));
          expect(bytes % 4096).toBe(0);
          if (bounds.most > 0) expect(has).toBeLessThanOrEqual(bounds.most);
        } catch (error) {
          if (!(error instanceof RpcError)) throw error;
          expect(bounds.most).toBeGreaterThan(0);
        }
      }),
    );
  });

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
