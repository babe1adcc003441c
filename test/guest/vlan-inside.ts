// Tests for a kernel with VLANs: vlan.test.ts runs them in a guest.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { join } from 'node:path';
import { test } from 'node:test';
import { WireLab } from '../wire/wire-lab.ts';

const TARGET = join(import.meta.dirname, '../../dist/cargo/release/aoe-target');
const HOST = join(import.meta.dirname, '../wire/host.ts');

/** Makes a VLAN interface as the chart's `interfaces` may name one. */
function vlan(lab: WireLab, parent: string, id: number): void {
  execFileSync('ip', ['-n', lab.name, 'link', 'add', 'link', parent, 'name', `${parent}.${id}`, 'type', 'vlan', 'id', String(id)]);
  execFileSync('ip', ['-n', lab.name, 'link', 'set', `${parent}.${id}`, 'up']);
}

/** How many answer on each of the host's interfaces. On the first somebody must, and may just be starting. */
async function answers(lab: WireLab, ...interfaces: string[]): Promise<number[]> {
  const counts: number[] = [];
  for (const [index, name] of interfaces.entries()) {
    const steps = index === 0 ? ['query'] : ['--nobody', 'query'];
    const [replies] = JSON.parse(await lab.exec(process.execPath, HOST, name, '7', '3', ...steps)) as [unknown[]];
    counts.push(replies.length);
  }
  return counts;
}

function serve(lab: WireLab, name: string): void {
  lab.start(TARGET, '--state', join(lab.directory, 'state'), '--interface', name, '--export', `7.3=${lab.disk('disk', 16 << 20)}`);
}

test('on a VLAN interface the target answers on that VLAN and nowhere else', { timeout: 250_000 }, async () => {
  await using lab = new WireLab();
  for (const end of ['host0', 'target0']) for (const id of [100, 200]) vlan(lab, end, id);
  serve(lab, 'target0.100');
  assert.deepEqual(await answers(lab, 'host0.100', 'host0.200', 'host0'), [1, 0, 0]);
});

test('on a port the target answers no VLAN, whether or not the host has an interface for it', { timeout: 250_000 }, async () => {
  await using lab = new WireLab();
  for (const id of [100, 200]) vlan(lab, 'host0', id);
  vlan(lab, 'target0', 200);
  serve(lab, 'target0');
  assert.deepEqual(await answers(lab, 'host0', 'host0.100', 'host0.200'), [1, 0, 0]);
});
