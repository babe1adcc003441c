import { existsSync } from 'node:fs';
import { OURS, SHELF, SLOT, startOurs } from '../conformance/targets.ts';
import { WireLab } from './wire-lab.ts';

const skip = process.getuid?.() !== 0 || !existsSync(OURS) ? 'needs root and a built aoe-target' : false;
const ADDRESS = [String(SHELF), String(SLOT), 'host0'];

/** How long an answer may take, in seconds, and for how long nothing must come. */
const [ANSWER_S, SILENT_S] = [10, 1];

/** Starts our target and waits until it answers: the tools ask once. */
async function served(lab: WireLab): Promise<void> {
  startOurs(lab);
  const [replies] = (await lab.host(SHELF, SLOT, 'query')) as [unknown[]];
  expect(replies).toHaveLength(1);
}

/** What aoecfg prints, or "none" when it is not answered in time: then it prints not even the end of a line. */
async function aoecfg(lab: WireLab, seconds: number, ...options: string[]): Promise<string> {
  const output = await lab.exec('aoecfg', '-t', String(seconds), ...options, ...ADDRESS);
  return output === '' ? 'none' : output.trim();
}

describe.skipIf(skip)("Debian's aoetools on our target", () => {
  it('aoecfg reads, tests, sets and forces the config string', async () => {
    await using lab = new WireLab();
    await served(lab);
    expect(await aoecfg(lab, ANSWER_S)).toBe('');
    expect(await aoecfg(lab, ANSWER_S, '-c', 'set', '-s', 'first')).toBe('first');
    expect(await aoecfg(lab, ANSWER_S, '-c', 'set', '-s', 'second')).toBe('*badcfg*');
    expect(await aoecfg(lab, ANSWER_S, '-c', 'test', '-s', 'first')).toBe('first');
    expect(await aoecfg(lab, SILENT_S, '-c', 'test', '-s', 'fir')).toBe('none');
    expect(await aoecfg(lab, ANSWER_S, '-c', 'prefix', '-s', 'fir')).toBe('first');
    expect(await aoecfg(lab, SILENT_S, '-c', 'prefix', '-s', 'irst')).toBe('none');
    expect(await aoecfg(lab, ANSWER_S, '-c', 'fset', '-s', 'forced')).toBe('forced');
    expect(await aoecfg(lab, ANSWER_S)).toBe('forced');
  });

  for (const [mtu, payload] of [
    [1500, 1024],
    [9000, 8192],
  ] as const) {
    it(`aoeping and aoe-sancheck find it at MTU ${mtu}, with a payload of ${payload}`, async () => {
      await using lab = new WireLab({ mtu });
      await served(lab);
      expect(await lab.exec('aoeping', '-I', '-s', '30', ...ADDRESS)).toMatch(/serial_number: CONFORMANCE/);
      await expect(lab.exec('aoeping', '-s', '30', '-S', 'return_status', ...ADDRESS)).rejects.toThrow(/SMART/);
      expect(await lab.exec('aoe-sancheck')).toMatch(new RegExp(`^e${SHELF}\\.${SLOT}\\s+1\\s+${payload}\\s+host0$`, 'm'));
    });
  }
});
