import { emitRecord, epochOf, RECORD } from './record.ts';

describe('a record', () => {
  it('shows its epoch, at its own position only', () => {
    const bytes = emitRecord(7, 100_000);
    expect(bytes.length).toBe(RECORD);
    expect(epochOf(bytes, 100_000)).toBe(7);
    expect(epochOf(bytes, 100_001)).toBeUndefined();
  });

  it('is none when a part of it is of another record, or missing', () => {
    for (let sector = 0; sector < 8; sector++) {
      const bytes = emitRecord(7, 5);
      emitRecord(8, 5).copy(bytes, sector * 512, sector * 512, (sector + 1) * 512);
      expect(epochOf(bytes, 5), `sector ${sector}`).toBeUndefined();
    }
    expect(epochOf(Buffer.alloc(RECORD), 0)).toBeUndefined();
    expect(epochOf(emitRecord(7, 5).subarray(0, 2048), 5)).toBeUndefined();
  });
});
