import { execFileSync } from 'node:child_process';
import { closeSync, existsSync, openSync, readFileSync, readSync, writeFileSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { OURS, SHELF, SLOT } from '../conformance/targets.ts';
import { WireLab } from './wire-lab.ts';

const IPXE = '/boot/ipxe.lkrn';
const QEMU = '/usr/bin/qemu-system-x86_64';
const skip =
  process.getuid?.() !== 0 || !existsSync(OURS)
    ? 'needs root and a built aoe-target'
    : existsSync(IPXE) && existsSync(QEMU)
      ? false
      : 'needs Debian packages ipxe and qemu-system-x86';

const SECTOR = 512;
const MESSAGE = 'read over AoE\n';

/** A disk with boot.S in its first sector and what it prints in its second. */
function bootable(lab: WireLab): string {
  const path = (name: string): string => join(lab.directory, name);
  execFileSync('as', ['--32', '-o', path('boot.o'), join(import.meta.dirname, 'boot.S')]);
  execFileSync('ld', ['-m', 'elf_i386', '-Ttext=0x7c00', '--oformat', 'binary', '-o', path('boot'), path('boot.o')]);
  // Larger than a cylinder: iPXE finds no geometry for less, and does not boot.
  const disk = lab.disk('disk', 16 << 20);
  const fd = openSync(disk, 'r+');
  writeSync(fd, readFileSync(path('boot')), 0, SECTOR, 0);
  writeSync(fd, `${MESSAGE}\0`, SECTOR);
  closeSync(fd);
  return disk;
}

function sectorOf(disk: string, index: number): string {
  const bytes = Buffer.alloc(SECTOR);
  const fd = openSync(disk, 'r');
  readSync(fd, bytes, 0, SECTOR, index * SECTOR);
  closeSync(fd);
  return bytes.toString('latin1').replace(/\0+$/, '');
}

it.skipIf(skip)(
  'iPXE boots from our target, reads and writes',
  async () => {
    await using lab = new WireLab();
    await lab.exec('ip', 'link', 'add', 'bridge0', 'type', 'bridge');
    await lab.exec('ip', 'tuntap', 'add', 'tap0', 'mode', 'tap');
    for (const port of ['host0', 'tap0']) await lab.exec('ip', 'link', 'set', port, 'master', 'bridge0', 'up');
    await lab.exec('ip', 'link', 'set', 'bridge0', 'up');
    const disk = bootable(lab);
    lab.start(OURS, '--interface', 'target0', '--state', join(lab.directory, 'state'), '--export', `${SHELF}.${SLOT}=${disk}`);
    const script = join(lab.directory, 'script');
    writeFileSync(script, `#!ipxe\nifopen net0\nsanboot --no-describe aoe:e${SHELF}.${SLOT}\n`);
    const printed = join(lab.directory, 'printed');
    lab.start(
      QEMU,
      ...['-machine', 'pc,accel=tcg', '-m', '128', '-display', 'none', '-monitor', 'none', '-no-reboot'],
      ...['-netdev', 'tap,id=n0,ifname=tap0,script=no,downscript=no', '-device', 'virtio-net-pci,netdev=n0,romfile='],
      ...['-kernel', IPXE, '-initrd', script, '-debugcon', `file:${printed}`],
    );
    const deadline = performance.now() + 240_000;
    const output = (): string => (existsSync(printed) ? readFileSync(printed, 'utf8') : '');
    // Each byte is written by itself: a line is whole when its end is there.
    while (!/(written|failed)\n/.test(output()) && performance.now() < deadline) await new Promise((resolve) => setTimeout(resolve, 100));
    expect(output()).toBe(`${MESSAGE}written\n`);
    expect(sectorOf(disk, 9)).toBe(MESSAGE);
  },
  300_000,
);
