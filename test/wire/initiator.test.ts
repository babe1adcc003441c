import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { WireLab } from './wire-lab.ts';

const TARGET = join(import.meta.dirname, '../../dist/cargo/release/aoe-target');
const skip = process.getuid?.() === 0 ? false : 'needs root, for network namespaces';

interface Peer {
  name: string;
  start: (lab: WireLab, disk: string, shelf: number, slot: number) => () => Promise<void>;
}
const peers: Peer[] = [
  { name: 'vblade', start: (lab, disk, shelf, slot) => lab.start('vblade', '-b', '64', String(shelf), String(slot), 'target0', disk) },
];
if (existsSync(TARGET)) {
  peers.push({
    name: 'aoe-target',
    start: (lab, disk, shelf, slot) =>
      lab.start(
        TARGET,
        '--state',
        join(lab.directory, `state-${shelf}-${slot}`),
        '--interface',
        'target0',
        '--export',
        `${shelf}.${slot}=${disk}`,
      ),
  });
}

for (const { name, start } of peers) {
  test.skipIf(skip)(
    `a host finds, identifies, locks and releases a disk of ${name}`,
    async () => {
      await using lab = new WireLab();
      start(lab, lab.disk('disk', 64 << 20), 7, 3);
      const [query, identify, first, again, other, seen, wrong, release, empty] = (await lab.host(
        7,
        3,
        'query',
        'identify',
        'acquire:n0',
        'acquire:n0',
        'acquire:n1',
        'query',
        'release:n1',
        'release:n0',
        'query',
      )) as [
        { string: string; error: number }[],
        { identity: { sectors: number; serial: string } }[],
        { outcome: string },
        { outcome: string },
        { outcome: string; holder: { lock: { node: string } } },
        { string: string }[],
        { outcome: string },
        { outcome: string },
        { string: string }[],
      ];
      expect(query).toHaveLength(1);
      expect(query[0]?.string).toBe('');
      expect(identify[0]?.identity.sectors).toBe((64 << 20) / 512);
      expect(first.outcome).toBe('held');
      expect(again.outcome).toBe('held');
      expect(other.outcome).toBe('occupied');
      expect(other.holder.lock.node).toBe('n0');
      expect(seen[0]?.string ?? '').toMatch(/^aoe\.dev\/1 node=n0 uid=uid-n0 volume=volume since=\d{4}-/);
      expect(wrong.outcome).toBe('released');
      expect(release.outcome).toBe('released');
      expect(empty[0]?.string).toBe('');
    },
    300_000,
  );

  test.skipIf(skip)(
    `aoecfg reads the lock that we set on a disk of ${name}`,
    async () => {
      await using lab = new WireLab();
      start(lab, lab.disk('disk', 16 << 20), 7, 3);
      const [lock] = (await lab.host(7, 3, 'acquire:n0')) as [{ outcome: string }];
      expect(lock.outcome).toBe('held');
      expect(await lab.exec('aoecfg', '7', '3', 'host0')).toMatch(/node=n0/);
    },
    300_000,
  );
}

test.skipIf(skip)(
  'two targets behind one address are both seen',
  async () => {
    await using lab = new WireLab();
    const [vblade] = peers;
    vblade?.start(lab, lab.disk('one', 1 << 20), 7, 3);
    await lab.exec('ip', 'link', 'add', 'link', 'target0', 'name', 'second0', 'type', 'macvlan', 'mode', 'bridge');
    await lab.exec('ip', 'link', 'set', 'second0', 'up');
    lab.start('vblade', '7', '3', 'second0', lab.disk('two', 2 << 20));
    const [replies] = (await lab.host(7, 3, 'query')) as [unknown[]];
    // The second may still be starting when the first answers: ask until both are there, for a limited time.
    let count = replies.length;
    for (let attempt = 0; count < 2 && attempt < 20; attempt++) count = ((await lab.host(7, 3, 'query')) as [unknown[]])[0].length;
    expect(count).toBe(2);
  },
  300_000,
);

test.skipIf(skip)(
  "an answer counts although all threads of Node's pool are busy, and the link goes down before it is read",
  async () => {
    await using lab = new WireLab();
    peers[0]?.start(lab, lab.disk('disk', 1 << 20), 7, 3);
    expect(((await lab.host(7, 3, 'query')) as [unknown[]])[0]).toHaveLength(1);
    expect(((await lab.host(7, 3, '--busy', 'query')) as [unknown[]])[0]).toHaveLength(1);
  },
  300_000,
);

test.skipIf(skip)(
  'nobody at an address is an empty answer, in the time that was given',
  async () => {
    await using lab = new WireLab();
    const [query, lock] = (await lab.host(9, 9, '--nobody', 'query', 'acquire:n0')) as [unknown[], { outcome: string }];
    expect(query).toStrictEqual([]);
    expect(lock.outcome).toBe('unanswered');
  },
  300_000,
);
