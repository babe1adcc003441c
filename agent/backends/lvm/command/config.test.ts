import { lvmConfig } from './config.ts';

test('LVM is told not to look at disks over AoE, nor at our own volumes', () => {
  const config = lvmConfig({ udev: false });
  for (const rule of ['"r|^/dev/etherd/|"', '"r|/aoe-|"', '"r|aoe--|"', 'scan_lvs=0', 'udev_sync=0']) expect(config, rule).toContain(rule);
  expect(lvmConfig({ udev: true })).not.toContain('udev_sync');
});
