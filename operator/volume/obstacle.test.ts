import type { AoEVolume } from '../../api/volume.ts';
import { obstacleOf } from './obstacle.ts';

const CLUSTER = { nodes: { get: () => undefined }, kubeNodes: { get: () => undefined }, isGivenUp: false };

/** What people are told about a volume whose node is gone. @param moves of which its agent has spoken last */
const told = (move: object | undefined, moves = 1): string => {
  const spec = { nodeName: 'storage-2', pool: 'p', moves: 1, ...(move ? { move } : {}) };
  const volume = { metadata: { name: 'v' }, spec, status: { moves } } as unknown as AoEVolume;
  return obstacleOf(volume, CLUSTER)?.message ?? '';
};
const SWITCHED = { stage: 'Switched', nodeName: 'storage-1', pool: 'q' };

describe('what people can do about a volume whose storage node is gone', () => {
  it('is to go back to the data from before a move, when the new node has never said that it has the volume', () => {
    expect(told(SWITCHED, 0)).toMatch(/node storage-2 has never said that it has the volume, go back .*\(aoe.dev\/move-to=storage-1\/q\)$/);
  });

  it('is to go back only after what was written since is given up, when the new node had the volume', () => {
    const message = told(SWITCHED);
    expect(message).not.toMatch('never said');
    expect(message).toMatch(/aoe.dev\/give-up=storage-2\), after which it can go back to its data .*\(aoe.dev\/move-to=storage-1\/q\)$/);
  });

  it('is not to go back when there was no move, or its old data is being removed', () => {
    for (const move of [undefined, { ...SWITCHED, stage: 'Removing' }]) expect(told(move)).toMatch(/give-up=storage-2\)$/);
  });
});
