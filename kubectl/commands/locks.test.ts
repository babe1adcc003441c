import { AOE_VOLUMES } from '../cluster/objects.ts';
import { machine, smallCluster, volume } from '../testing/objects.ts';
import { runOn } from '../testing/run.ts';
import { locksOf } from './locks.ts';

const held = (node: string) => ({ status: { holder: { name: node, node, since: '2026-11-28T09:00:00Z', raw: `aoe.dev/1 node=${node}` } } });

describe('locks', () => {
  it('lists the holders, for how long, and what is odd', async () => {
    const fake = smallCluster().put(
      AOE_VOLUMES,
      volume('a-gone', held('worker-9')),
      volume('b-left', { ...held('storage-1') }),
      volume('c-mac', { status: { holder: { name: '"net.corvus.app…"', raw: 'net.corvus.apple me' } } }),
      volume('d-free', { status: { holder: undefined } }),
    );
    const { out, code } = await runOn(fake, ['locks']);
    expect(code).toBe(0);
    expect(out).toBe(`VOLUME   CLAIM       HOLDER                  HELD FOR   NODE    NOTE
a-gone   -           worker-9                3h         Gone    there is no such node: the lock is cleared when the volume is detached from it
b-left   -           storage-1               3h         Ready   the volume is not attached to it: the agent clears such a lock
c-mac    -           "net.corvus.apple me"   -          -       not a lock of this project: no node gets the volume until it is cleared
pvc-1    shop/data   worker-1                1h         Ready   -
`);
  });

  it('says that a holder is not Ready, and that nobody knows when Nodes may not be read', () => {
    expect(locksOf([volume('v')], [], [machine('worker-1', { ready: false })])[0]).toMatchObject({
      node: 'NotReady',
      note: expect.stringMatching('its kubelet is silent'),
    });
    expect(locksOf([volume('v')], undefined, undefined)[0]).toMatchObject({ node: 'Unknown', claim: undefined });
  });

  it('writes JSON, says that there is none, and fails when it may not look', async () => {
    expect(JSON.parse((await runOn(smallCluster(), ['locks', '-o', 'json'])).out)).toStrictEqual({
      locks: [
        {
          volume: 'pvc-1',
          claim: 'shop/data',
          holder: 'worker-1',
          isOurs: true,
          since: '2026-11-28T11:00:00Z',
          node: 'Ready',
          isAttached: true,
        },
      ],
      notSeen: [],
    });
    const mac = volume('c-mac', { status: { holder: { name: '"net.corvus.app…"', raw: 'net.corvus.apple me' } } });
    expect(JSON.parse((await runOn(smallCluster().put(AOE_VOLUMES, mac), ['locks', '-o', 'json'])).out).locks).toMatchObject([
      { holder: 'net.corvus.apple me', isOurs: false, node: 'Foreign' },
      { node: 'Ready' },
    ]);
    const fake = smallCluster();
    fake.forbidden.add('aoevolumes');
    expect(await runOn(fake, ['locks'])).toMatchObject({ code: 1, out: '', notSeen: ['you may not list aoevolumes.aoe.dev'] });
  });
});
