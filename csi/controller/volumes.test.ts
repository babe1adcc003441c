import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { isResourceName, resourceName } from './volumes.ts';

describe('resourceName', () => {
  it('keeps a name that a resource can have', () => {
    for (const name of ['pvc-8f0c', 'a', 'a.b-c.d', '0', 'x'.repeat(253)]) assert.equal(resourceName(name), name);
  });

  it('makes another one where it cannot', () => {
    assert.match(resourceName('My Volume!'), /^my-volume-[0-9a-f]{16}$/);
    assert.match(resourceName('...'), /^volume-[0-9a-f]{16}$/);
    for (const name of ['A', '-a', 'a..b', 'a-.b', 'x'.repeat(254)]) assert.notEqual(resourceName(name), name);
  });

  it('gives every name a valid one, the same each time, and no two the same', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'grapheme' }), fc.string(), (a, b) => {
        assert.ok(isResourceName(resourceName(a)));
        assert.equal(resourceName(a), resourceName(a));
        if (a !== b) assert.notEqual(resourceName(a), resourceName(b));
      }),
    );
  });
});
