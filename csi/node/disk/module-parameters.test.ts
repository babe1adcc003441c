import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseModuleParameters, setModuleParameters } from './module-parameters.ts';

test('parameters of the module are read from a flag', () => {
  expect(parseModuleParameters('')).toStrictEqual({});
  expect(parseModuleParameters('aoe_deadsecs=0,aoe_maxout=32')).toStrictEqual({ aoe_deadsecs: 0, aoe_maxout: 32 });
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
    expect(() => parseModuleParameters(text), text).toThrow(/is not a parameter of the aoe module that can be set/);
  }
});

test('the module gets the parameters that it does not have yet, and keeps the others', async () => {
  const directory = mkdtempSync(join(tmpdir(), 'aoe-module-'));
  try {
    writeFileSync(join(directory, 'aoe_deadsecs'), '180\n');
    writeFileSync(join(directory, 'aoe_maxout'), '64\n');
    await setModuleParameters({ aoe_deadsecs: 600 }, directory);
    expect(readFileSync(join(directory, 'aoe_deadsecs'), 'utf8')).toMatch(/^600/);
    await setModuleParameters({ aoe_maxout: 64 }, directory);
    expect(readFileSync(join(directory, 'aoe_maxout'), 'utf8')).toBe('64\n');
  } finally {
    rmSync(directory, { recursive: true });
  }
});

test('a parameter that the module does not have is an error that names it', async () => {
  const directory = mkdtempSync(join(tmpdir(), 'aoe-module-'));
  try {
    await expect(setModuleParameters({ aoe_maxout: 3 }, directory)).rejects.toThrow(/does not take aoe_maxout=3/);
    expect(readdirSync(directory)).toStrictEqual([]);
  } finally {
    rmSync(directory, { recursive: true });
  }
});
