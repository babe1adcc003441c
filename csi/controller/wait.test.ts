import { AOE_VOLUMES, API_VERSION } from '../../api/resources.ts';
import type { AoEVolume, AoEVolumeStatus } from '../../api/volume.ts';
import { TimeoutError } from '../../kube/mod.ts';
import { Code } from '../../rpc/status.ts';
import type { Deps } from './deps.ts';
import { waitFor, waitUntilGone } from './wait.ts';

function volume(uid: string, status: AoEVolumeStatus = {}): AoEVolume {
  return {
    apiVersion: API_VERSION,
    kind: 'AoEVolume',
    metadata: { name: 'v', uid },
    spec: { access: 'Exclusive', initiators: {}, deletionPolicy: 'Delete' },
    status,
  };
}

/** A watch that shows one state after the other, and then nothing more. */
function fakeDeps(...states: (AoEVolume | undefined)[]): Deps {
  let next = 0;
  const waitFor = async <R>(_name: string, ask: (object: AoEVolume | undefined) => R | undefined | false): Promise<R> => {
    for (; next < states.length; next++) {
      const answer = ask(states[next]);
      if (answer !== undefined && answer !== false) return answer;
    }
    throw new TimeoutError('nothing more');
  };
  return { volumes: { waitFor } } as unknown as Deps;
}

const call = () => ({ signal: new AbortController().signal, deadline: Date.now() + 20_000 });
const ready = { what: 'its export', until: (now: AoEVolume) => (now.status?.phase === 'Ready' ? now : undefined) };
const refused = [{ type: 'Ready', status: 'False', reason: 'X', message: 'the disk is broken', lastTransitionTime: '' } as const];

describe('waitFor', () => {
  it('gives the state that was waited for, although the watch did not know the volume at first', async () => {
    const deps = fakeDeps(undefined, volume('other', { phase: 'Ready' }), volume('1'), volume('1', { phase: 'Ready' }));
    expect((await waitFor(deps, volume('1'), ready, call())).metadata.uid).toBe('1');
  });

  it('ends when the volume is deleted meanwhile', async () => {
    await expect(waitFor(fakeDeps(volume('1'), undefined), volume('1'), ready, call())).rejects.toMatchObject({ code: Code.ABORTED });
  });

  it('does not wait to the end for a volume in trouble', async () => {
    const deps = fakeDeps(volume('1', { phase: 'Failed', conditions: [...refused] }));
    await expect(waitFor(deps, volume('1'), ready, call())).rejects.toMatchObject({
      code: Code.UNAVAILABLE,
      message: expect.stringMatching(/its export: the disk is broken/),
    });
  });

  it('says what it waited for, and what is known', async () => {
    const deps = fakeDeps(volume('1', { phase: 'Pending', conditions: [...refused] }));
    await expect(waitFor(deps, volume('1'), ready, call())).rejects.toMatchObject({
      code: Code.DEADLINE_EXCEEDED,
      message: 'AoEVolume v is still waiting for its export: the disk is broken',
    });
  });
});

describe('waitUntilGone', () => {
  const wait = (states: (AoEVolume | undefined)[], stored: AoEVolume | undefined) => {
    const kube = { get: async () => stored } as unknown as Deps['kube'];
    return waitUntilGone({ kube, store: fakeDeps(...states).volumes, type: AOE_VOLUMES }, volume('1'), call());
  };

  it.each([
    ['the watch shows that it goes', [volume('1'), undefined], volume('1')],
    ['the watch shows a namesake', [volume('1'), volume('2')], volume('2')],
    ['it is gone before the watch has shown it', [undefined], undefined],
    ['the watch is late', [undefined, volume('1'), undefined], volume('1')],
    ['the watch is late, and shows an earlier namesake', [volume('0'), undefined, volume('1'), undefined], volume('1')],
  ])('ends when %s', async (_what, states, stored) => {
    await wait(states, stored);
  });

  it.each([
    ['stays', [volume('1')]],
    ['stays, and the watch is late', [undefined, volume('1')]],
    ['stays, and the watch never shows it', [undefined]],
    ['stays, and the watch shows an earlier namesake', [volume('0'), undefined]],
  ])('fails when the object %s', async (_what, states) => {
    await expect(wait(states, volume('1'))).rejects.toBeInstanceOf(TimeoutError);
  });
});
