import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { AGENT_SCRIPT, NODE_SCRIPT, parseAgentFacts, parseNodeFacts } from './probe.ts';

const sh = (script: string, ...args: string[]) => execFileSync('sh', ['-c', script, 'sh', ...args], { encoding: 'utf8' });

describe('what the node plugin knows', () => {
  it('is read from its lines', () => {
    const facts = parseNodeFacts(
      [
        'kernel 6.12.1',
        'parameter aoe_deadsecs 180',
        'module loaded',
        'disk state up',
        'disk netif eth1 eth2',
        'disk size 2097152',
        'mount /var/lib/kubelet/x/globalmount rw,relatime shared:1 - ext4 /dev/etherd/e7.3 rw,stripe=1',
        'mount /var/lib/kubelet/pods/uid/mount rw,relatime shared:1 - ext4 /dev/etherd/e7.3 ro',
        'bound /var/lib/kubelet/plugins/raw rw',
        '',
      ].join('\n'),
    );
    expect(facts).toStrictEqual({
      kernel: '6.12.1',
      isModuleLoaded: true,
      parameters: { aoe_deadsecs: '180' },
      disk: { state: 'up', netif: 'eth1 eth2', size: '2097152' },
      mounts: [
        { target: '/var/lib/kubelet/x/globalmount', isReadOnly: false, type: 'ext4' },
        { target: '/var/lib/kubelet/pods/uid/mount', isReadOnly: true, type: 'ext4' },
        { target: '/var/lib/kubelet/plugins/raw', isReadOnly: false, type: 'block' },
      ],
    });
  });

  it('is asked by a script that ends well without module and disk', () => {
    const facts = parseNodeFacts(sh(NODE_SCRIPT, 'e65000.1'));
    expect(facts).toMatchObject({ kernel: sh('uname -r').trim(), disk: undefined, mounts: [] });
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
    expect(parseAgentFacts('socket\nbacking /dev/vg0/aoe-1\nsize 1024\nsuspended\n')).toStrictEqual({
      hasSocket: true,
      path: '/dev/vg0/aoe-1',
      bytes: 1024,
      isSuspended: true,
    });
    expect(parseAgentFacts('')).toStrictEqual({ hasSocket: false, path: undefined, bytes: undefined, isSuspended: false });
  });
});
