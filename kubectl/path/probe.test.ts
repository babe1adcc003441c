import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { AGENT_SCRIPT, NODE_SCRIPT, parseAgentFacts, parseNodeFacts } from './probe.ts';

const sh = (script: string, ...args: string[]) => execFileSync('sh', ['-c', script, 'sh', ...args], { encoding: 'utf8' });

describe('what the node plugin knows', () => {
  it('is read from its lines', () => {
    const facts = parseNodeFacts(
      [
        'kernel 6.12.1',
        'build #1 SMP Debian 6.12.1-1',
        'parameter aoe_deadsecs 180',
        'module loaded',
        'disk state up',
        'disk netif eth1 eth2',
        'disk size 2097152',
        'mapping aoe-e7.3-uid-v',
        'mount /var/lib/kubelet/x/globalmount rw,relatime shared:1 - ext4 /dev/etherd/e7.3 rw,stripe=1',
        'mount /var/lib/kubelet/pods/uid/mount rw,relatime shared:1 - ext4 /dev/etherd/e7.3 ro',
        'bound /var/lib/kubelet/plugins/raw rw',
        '',
      ].join('\n'),
    );
    expect(facts).toStrictEqual({
      kernel: '6.12.1',
      build: '#1 SMP Debian 6.12.1-1',
      isModuleLoaded: true,
      parameters: { aoe_deadsecs: '180' },
      disk: { state: 'up', netif: 'eth1 eth2', size: '2097152' },
      mappings: ['aoe-e7.3-uid-v'],
      mounts: [
        { target: '/var/lib/kubelet/x/globalmount', isReadOnly: false, type: 'ext4' },
        { target: '/var/lib/kubelet/pods/uid/mount', isReadOnly: true, type: 'ext4' },
        { target: '/var/lib/kubelet/plugins/raw', isReadOnly: false, type: 'block' },
      ],
    });
  });

  it('is asked by a script that ends well without module and disk', () => {
    const facts = parseNodeFacts(sh(NODE_SCRIPT, 'e65000.1'));
    expect(facts).toMatchObject({ kernel: sh('uname -r').trim(), build: expect.stringMatching(/./), disk: undefined, mounts: [] });
  });
});

describe('what the kernel of a node shows of a disk', () => {
  const root = mkdtempSync(join(tmpdir(), 'probe-'));
  afterAll(() => rmSync(root, { recursive: true }));
  const put = (path: string, text: string) => {
    mkdirSync(dirname(join(root, path)), { recursive: true });
    writeFileSync(join(root, path), `${text}\n`);
  };
  /** The script on the files of this test. */
  const ask = (address: string) => {
    const script = NODE_SCRIPT.replaceAll('/sys/', `${root}/sys/`).replaceAll('/proc/', `${root}/proc/`);
    const { disk, mappings, mounts } = parseNodeFacts(sh(script, address));
    return { state: disk?.state, mappings, targets: mounts.map(({ target, type }) => `${type} ${target}`) };
  };
  const mapping = (number: number, name: string) => {
    put(`sys/block/dm-${number}/dev`, `252:${number}`);
    put(`sys/block/dm-${number}/dm/name`, name);
  };

  it('is the mounts of the disk itself, and of the mappings that are on it', () => {
    for (const [address, dev] of [
      ['e7.3', '152:0'],
      ['e7.4', '152:16'],
      ['e7.5', '152:32'],
    ]) {
      put(`sys/block/etherd!${address}/state`, 'up');
      put(`sys/block/etherd!${address}/dev`, dev ?? '');
    }
    mapping(3, 'aoe-e7.4-uid-v');
    // Of another disk, and of another program.
    mapping(4, 'aoe-e7.41-uid-w');
    mapping(5, 'vg0-e7.4');
    put(
      'proc/1/mountinfo',
      [
        '30 1 152:0 / /plain rw - ext4 /dev/etherd/e7.3 rw',
        '31 1 0:5 /etherd/e7.3 /plain-raw rw - devtmpfs udev rw',
        '32 1 252:3 / /encrypted rw - ext4 /dev/mapper/aoe-e7.4-uid-v rw',
        '33 1 0:5 /dm-3 /encrypted-raw rw - devtmpfs udev rw',
        '34 1 0:5 /mapper/aoe-e7.4-uid-v /encrypted-raw-2 rw - devtmpfs udev rw',
        '35 1 252:4 / /other rw - ext4 /dev/dm-4 rw',
        '36 1 252:5 / /root rw - ext4 /dev/dm-5 rw',
      ].join('\n'),
    );
    expect(ask('e7.3')).toStrictEqual({ state: 'up', mappings: [], targets: ['ext4 /plain', 'block /plain-raw'] });
    const targets = ['ext4 /encrypted', 'block /encrypted-raw', 'block /encrypted-raw-2'];
    expect(ask('e7.4')).toStrictEqual({ state: 'up', mappings: ['aoe-e7.4-uid-v'], targets });
    expect(ask('e7.5')).toStrictEqual({ state: 'up', mappings: [], targets: [] });
    expect(ask('e7.6')).toStrictEqual({ state: undefined, mappings: [], targets: [] });
  });
});

describe('what the agent knows', () => {
  it('is asked by a script: where the backing volume is, and how large', () => {
    const scratch = mkdtempSync(join(tmpdir(), 'probe-'));
    writeFileSync(join(scratch, 'b.img'), 'x'.repeat(1000));
    const text = sh(AGENT_SCRIPT, join(scratch, 'a.img'), join(scratch, 'b.img'));
    rmSync(scratch, { recursive: true });
    expect(parseAgentFacts(text)).toStrictEqual({ hasSocket: false, path: join(scratch, 'b.img'), bytes: 1000, isSuspended: false });
  });

  it('is read from its lines', () => {
    expect(parseAgentFacts('socket\nbacking /dev/vg0/aoe-1\nsectors 2\nsuspended\n')).toStrictEqual({
      hasSocket: true,
      path: '/dev/vg0/aoe-1',
      bytes: 1024,
      isSuspended: true,
    });
    expect(parseAgentFacts('')).toStrictEqual({ hasSocket: false, path: undefined, bytes: undefined, isSuspended: false });
  });
});
