// The load generator against our target and vblade: a few hundred frames, and nothing of their speed.
import { existsSync } from 'node:fs';
import { load } from '../bench/initiator.ts';
import { disks, LOAD_PROGRAM, ours, TARGET_PROGRAM, vblade } from '../bench/targets.ts';
import { WireLab } from './wire-lab.ts';

const SPAN = 2048;
const root = process.getuid?.() === 0;
const skip = root && existsSync(TARGET_PROGRAM) && existsSync(LOAD_PROGRAM) ? false : 'needs root and the built programs';

for (const target of [ours, vblade]) {
  test.skipIf(skip)(
    `the load generator checks what ${target.name} reads and writes`,
    async () => {
      await using lab = new WireLab({ mtu: 9000 });
      const all = disks(lab, 2, SPAN * 512);
      target.start(lab, all);
      const common = { volumes: 2, span: SPAN, window: 16, sectors: 8 };
      await expect(load(lab, { ...common, operation: 'read', count: 10 }), 'nothing was written yet').rejects.toThrow(/Garbage/);
      const filled = await load(lab, { ...common, operation: 'fill' });
      expect(filled.answered).toBe((2 * SPAN) / 8);
      const read = await load(lab, { ...common, operation: 'read', count: 300, poll: 'yes' });
      const written = await load(lab, { ...common, operation: 'write', count: 300, sectors: 16, order: 'sequential' });
      expect([read.answered, read.wrong, written.answered, written.wrong]).toStrictEqual([300, 0, 300, 0]);
      expect(written.compared).toBeGreaterThan(100);
    },
    300_000,
  );
}
