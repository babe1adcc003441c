import assert from 'node:assert/strict';
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { parseModuleParameters, setModuleParameters } from './module-parameters.ts';

test('parameters of the module are read from a flag', () => {
  assert.deepEqual(parseModuleParameters(''), {});
  assert.deepEqual(parseModuleParameters('aoe_deadsecs=0,aoe_maxout=32'), { aoe_deadsecs: 0, aoe_maxout: 32 });
});

test('parameters that cannot be set while the module is loaded, or not to that value, are refused', () => {
  for (const text of [
    'aoe_dyndevs=0',
    'aoe_deadsecs',
    'aoe_deadsecs=-1',
    'aoe_deadsecs=2147483648',
    'aoe_maxout=0',
    'toString=1',
    'a=1 b=2',
  ]) {
    assert.throws(() => parseModuleParameters(text), /is not a parameter of the aoe module that can be set/, text);
  }
});

test('the module gets the parameters that it does not have yet, and keeps the others', async () => {
  const directory = mkdtempSync(join(tmpdir(), 'aoe-module-'));
  try {
    writeFileSync(join(directory, 'aoe_deadsecs'), '180\n');
    writeFileSync(join(directory, 'aoe_maxout'), '64\n');
    await setModuleParameters({ aoe_deadsecs: 600 }, directory);
    assert.match(readFileSync(join(directory, 'aoe_deadsecs'), 'utf8'), /^600/);
    await setModuleParameters({ aoe_maxout: 64 }, directory);
    assert.equal(readFileSync(join(directory, 'aoe_maxout'), 'utf8'), '64\n');
  } finally {
    rmSync(directory, { recursive: true });
  }
});

test('a parameter that the module does not have is an error that names it', async () => {
  const directory = mkdtempSync(join(tmpdir(), 'aoe-module-'));
  try {
    await assert.rejects(setModuleParameters({ aoe_maxout: 3 }, directory), /does not take aoe_maxout=3/);
    assert.deepEqual(readdirSync(directory), []);
  } finally {
    rmSync(directory, { recursive: true });
  }
});
