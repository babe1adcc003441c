import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { emitRecord, epochOf, RECORD } from './record.ts';

describe('a record', () => {
  it('tells its epoch, at its own position only', () => {
    const bytes = emitRecord(7, 100_000);
    assert.equal(bytes.length, RECORD);
    assert.equal(epochOf(bytes, 100_000), 7);
    assert.equal(epochOf(bytes, 100_001), undefined);
  });

  it('is none when a part of it is of another record, or missing', () => {
    for (let sector = 0; sector < 8; sector++) {
      const bytes = emitRecord(7, 5);
      emitRecord(8, 5).copy(bytes, sector * 512, sector * 512, (sector + 1) * 512);
      assert.equal(epochOf(bytes, 5), undefined, `sector ${sector}`);
    }
    assert.equal(epochOf(Buffer.alloc(RECORD), 0), undefined);
    assert.equal(epochOf(emitRecord(7, 5).subarray(0, 2048), 5), undefined);
  });
});
