import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { describe, it } from 'node:test';
import { OURS, SHELF, SLOT, startOurs } from '../conformance/targets.ts';
import { WireLab } from './netns.ts';

const skip = process.getuid?.() !== 0 || !existsSync(OURS) ? 'needs root and a built aoe-target' : false;
const ADDRESS = [String(SHELF), String(SLOT), 'host0'];

/** Starts our target and waits until it answers: the tools ask once. */
async function served(lab: WireLab): Promise<void> {
  startOurs(lab);
  const [replies] = (await lab.host(SHELF, SLOT, 'query')) as [unknown[]];
  assert.equal(replies.length, 1);
}

/** What aoecfg prints, or "none" when it is not answered for a second: then it prints not even the end of a line. */
async function aoecfg(lab: WireLab, ...options: string[]): Promise<string> {
  const output = await lab.exec('aoecfg', '-t', '1', ...options, ...ADDRESS);
  return output === '' ? 'none' : output.trim();
}

describe("Debian's aoetools on our target", { skip, timeout: 60_000 }, () => {
  it('aoecfg reads, tests, sets and forces the config string', async () => {
    await using lab = new WireLab();
    await served(lab);
    assert.equal(await aoecfg(lab), '');
    assert.equal(await aoecfg(lab, '-c', 'set', '-s', 'first'), 'first');
    assert.equal(await aoecfg(lab, '-c', 'set', '-s', 'second'), '*badcfg*');
    assert.equal(await aoecfg(lab, '-c', 'test', '-s', 'first'), 'first');
    assert.equal(await aoecfg(lab, '-c', 'test', '-s', 'fir'), 'none');
    assert.equal(await aoecfg(lab, '-c', 'prefix', '-s', 'fir'), 'first');
    assert.equal(await aoecfg(lab, '-c', 'prefix', '-s', 'irst'), 'none');
    assert.equal(await aoecfg(lab, '-c', 'fset', '-s', 'forced'), 'forced');
    assert.equal(await aoecfg(lab), 'forced');
  });

  for (const [mtu, payload] of [
    [1500, 1024],
    [9000, 8192],
  ] as const) {
    it(`aoeping and aoe-sancheck find it at MTU ${mtu}, with a payload of ${payload}`, async () => {
      await using lab = new WireLab({ mtu });
      await served(lab);
      assert.match(await lab.exec('aoeping', '-I', '-s', '5', ...ADDRESS), /serial_number: CONFORMANCE/);
      await assert.rejects(lab.exec('aoeping', '-s', '5', '-S', 'return_status', ...ADDRESS), /SMART/);
      assert.match(await lab.exec('aoe-sancheck'), new RegExp(`^e${SHELF}\\.${SLOT}\\s+1\\s+${payload}\\s+host0$`, 'm'));
    });
  }
});
