import { API_VERSION } from '../../api/resources.ts';
import { type AoEVolume, MOVE_FINALIZER, VOLUME_FINALIZER } from '../../api/volume.ts';
import { statusOf } from './status.ts';

/** Condition Ready of a deleted volume, beside these conditions of its agent. */
function readyOfDeleted(conditions: { type: string; status: 'True' | 'False' | 'Unknown'; reason: string; message: string }[]) {
  const volume: AoEVolume = {
    apiVersion: API_VERSION,
    kind: 'AoEVolume',
    metadata: { name: 'v', deletionTimestamp: '2026-01-01T00:00:00Z', finalizers: [VOLUME_FINALIZER] },
    spec: { access: 'Exclusive', initiators: {}, deletionPolicy: 'Delete', nodeName: 'storage', address: { shelf: 1, slot: 1 } },
    status: { conditions: conditions.map((each) => ({ ...each, lastTransitionTime: '' })) },
  };
  return statusOf(volume, {}).conditions?.find(({ type }) => type === 'Ready');
}

const provisioned = { type: 'Provisioned', status: 'True', reason: 'Provisioned', message: 'the data is in vg0/aoe-u' } as const;

test('what the agent of an earlier node reported counts for nothing after a move', () => {
  const volume: AoEVolume = {
    apiVersion: API_VERSION,
    kind: 'AoEVolume',
    metadata: { name: 'v', finalizers: [VOLUME_FINALIZER] },
    spec: { access: 'Exclusive', initiators: {}, deletionPolicy: 'Delete', nodeName: 'b', address: { shelf: 1, slot: 1 }, moves: 2 },
    status: {
      moves: 1,
      conditions: ['Provisioned', 'Exported'].map((type) => ({ type, status: 'True', reason: type, message: '', lastTransitionTime: '' })),
    },
  };
  const readyOf = (each: AoEVolume) => statusOf(each, {}).conditions?.find(({ type }) => type === 'Ready');
  expect(readyOf(volume)).toMatchObject({ status: 'False', reason: 'Waiting', message: 'waiting for the agent on b' });
  expect(readyOf({ ...volume, status: { ...volume.status, moves: 2 } })).toMatchObject({ status: 'True', reason: 'Exported' });
});

test('Ready of a deleted volume says what its agent waits for', () => {
  const message = 'deletion waits: PersistentVolume v names the volume';
  const held = { type: 'Exported', status: 'True', reason: 'NamedByPersistentVolume', message } as const;
  expect(readyOfDeleted([provisioned, held])).toMatchObject({ status: 'False', reason: 'NamedByPersistentVolume', message });
  const stuck = { ...provisioned, reason: 'RemovalFailed', message: 'deletion waits: a process has it open' };
  const exported = { type: 'Exported', status: 'False', reason: 'Removing', message: 'the volume is being deleted' } as const;
  expect(readyOfDeleted([stuck, exported])).toMatchObject({ reason: 'RemovalFailed', message: stuck.message });
});

test('Ready of a deleted volume says that it is being removed when its agent waits for nothing', () => {
  const exported = { type: 'Exported', status: 'True', reason: 'Exported', message: 'the target serves the volume' } as const;
  const removing = { status: 'False', reason: 'Deleting', message: 'the agent on storage is removing export and data' };
  expect(readyOfDeleted([provisioned, exported])).toMatchObject(removing);
});

test('Ready of a deleted volume says on which node the data of a move is still to be removed, and why it is not', () => {
  const move = { id: '0123abcd', stage: 'Removing', nodeName: 'old', pool: 'q' } as const;
  const volume: AoEVolume = {
    apiVersion: API_VERSION,
    kind: 'AoEVolume',
    metadata: { name: 'v', deletionTimestamp: '2026-01-01T00:00:00Z', finalizers: [MOVE_FINALIZER] },
    spec: { access: 'Exclusive', initiators: {}, deletionPolicy: 'Delete', nodeName: 'new', address: { shelf: 1, slot: 1 }, move },
  };
  const messageOf = (each: AoEVolume) => statusOf(each, {}).conditions?.find(({ type }) => type === 'Ready')?.message;
  expect(messageOf(volume)).toBe('deletion waits: the agent on old is to remove what a move left in pool q there');
  const status = { move: { id: move.id, nodeName: 'old', phase: 'Waiting', message: 'AoEPool q does not exist' } } as const;
  expect(messageOf({ ...volume, status })).toMatch(/in pool q there: AoEPool q does not exist$/);
});
