import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { unavailable } from '../../../kube/testing/apiserver.ts';
import { runLab } from './run.ts';

const SEED = process.env.SEED ?? '1';
const STEPS = process.env.STEPS ?? '150';
const skip = process.getuid?.() === 0 ? unavailable : 'needs root, for namespaces';

/** Promises 1 (for crashes of programs), 2 and 6, with real programs and fake hosts. */
describe('faults in the lab of processes', { skip }, () => {
  const run = async (env: Record<string, string>): Promise<string> => {
    const { code, output } = await runLab(env, { limitMs: 300_000, signal: new AbortController().signal, tell: console.log });
    assert.equal(code, 0, output.slice(-5_000));
    return output;
  };

  it(`seed ${SEED}, ${STEPS} steps: no record is lost, none comes late, no two hosts write`, { timeout: 310_000 }, async () => {
    assert.match(await run({ SEED, STEPS }), /steps: right;/);
  });

  it('finds the second writer once the target lets anybody in: the check can fail', { timeout: 310_000 }, async () => {
    assert.match(await run({ CAN_FAIL: 'yes' }), /found: .*twice/);
  });
});
