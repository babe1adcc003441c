import fc from 'fast-check';
import { connected, eligible, ours, type PodOnNode, type PodVolume } from './eligible.ts';

const of = (volume: string): PodVolume => ({ kind: 'ours', volume });
const other = (what = 'an NFS export'): PodVolume => ({ kind: 'other', what });
const pod = (name: string, ...volumes: PodVolume[]): PodOnNode => ({ namespace: 'default', name, uid: `uid-${name}`, volumes });
const names = ({ pods, volumes, left }: ReturnType<typeof eligible>) => [
  pods.map(({ name }) => name),
  [...volumes].sort(),
  left.map(({ pod: { name } }) => name),
];

test('pods whose persistent volumes can all be taken are eligible; pods without a volume of ours are not our affair', () => {
  expect(names(eligible([pod('a', of('v')), pod('b')], ['v', 'unused']))).toStrictEqual([['a'], ['unused', 'v'], []]);
});

test('a pod with another volume stays, and with it the volumes that it shares, and the pods that share them', () => {
  const pods = [pod('a', of('v'), other()), pod('b', of('v'), of('w')), pod('c', of('w'), of('x')), pod('d', of('y'))];
  const result = eligible(pods, ['v', 'w', 'x', 'y']);
  expect(names(result)).toStrictEqual([['d'], ['y'], ['a', 'b', 'c']]);
  expect(result.left[0]?.why).toBe('it also uses an NFS export');
  expect(result.left[1]?.why).toMatch(/AoEVolume v cannot be taken over/);
});

test('a volume that is never taken keeps its pods and their other volumes, and the reason says so', () => {
  const never = (name: string) => (name === 'w' ? 'is never taken over' : undefined);
  const result = eligible([pod('a', of('v'), of('w')), pod('b', of('v')), pod('c', of('x'))], ['v', 'x'], never);
  expect(names(result)).toStrictEqual([['c'], ['x'], ['a', 'b']]);
  expect(result.left[0]?.why).toBe('its AoEVolume w is never taken over');
  expect(result.left[1]?.why).toMatch(/^its AoEVolume v cannot be taken over: .* another pod that stays uses it$/);
});

test('a pod that is to be kept stays, and so does one whose volume is no candidate', () => {
  expect(names(eligible([{ ...pod('a', of('v')), kept: 'a DaemonSet runs it' }, pod('b', of('w'))], ['v']))).toStrictEqual([
    [],
    [],
    ['a', 'b'],
  ]);
});

test('what hangs together is what has a volume in common', () => {
  const all = eligible([pod('a', of('v'), of('w')), pod('b', of('w')), pod('c', of('x'))], ['v', 'w', 'x']);
  expect(names(connected(all, ['v']))).toStrictEqual([['a', 'b'], ['v', 'w'], []]);
  expect(names(connected(all, ['gone']))).toStrictEqual([[], [], []]);
});

const anyPod = fc.record({
  volumes: fc.array(
    fc.oneof({ weight: 5, arbitrary: fc.constantFrom('v', 'w', 'x', 'y', 'z').map(of) }, { weight: 1, arbitrary: fc.constant(other()) }),
    { maxLength: 3 },
  ),
});

test('no pod is deleted while one of its volumes stays, and no volume is taken while a pod that stays uses it', () => {
  fc.assert(
    fc.property(fc.array(anyPod, { maxLength: 6 }), fc.subarray(['v', 'w', 'x', 'y', 'z']), (drawn, candidates) => {
      const pods = drawn.map(({ volumes }, index) => pod(`p${index}`, ...volumes));
      const result = eligible(pods, candidates);
      const taken = new Set(result.volumes);
      for (const name of taken) expect(candidates).toContain(name);
      for (const each of result.pods) {
        expect(each.volumes.every(({ kind }) => kind === 'ours')).toBe(true);
        for (const name of ours(each)) expect(taken.has(name)).toBe(true);
      }
      const deleted = new Set(result.pods);
      for (const each of pods) if (!deleted.has(each)) for (const name of ours(each)) expect(taken.has(name)).toBe(false);
    }),
  );
});
