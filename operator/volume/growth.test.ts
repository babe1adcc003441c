import type { AoEPool, PoolNode } from '../../api/pool.ts';
import { type AoEVolume, type AoEVolumeStatus, VOLUME_FINALIZER } from '../../api/volume.ts';
import { reservationsOf } from '../testing/indexes.ts';
import { growthOf } from './growth.ts';

interface Shape {
  name?: string;
  capacity?: string;
  status?: AoEVolumeStatus;
  spec?: Partial<AoEVolume['spec']>;
  deleted?: boolean;
}

function volume({ name = 'v', capacity = '4Gi', status = {}, spec = {}, deleted = false }: Shape = {}): AoEVolume {
  return {
    apiVersion: 'aoe.dev/v1alpha1',
    kind: 'AoEVolume',
    metadata: { name, finalizers: [VOLUME_FINALIZER], ...(deleted ? { deletionTimestamp: '2026-01-01T00:00:00Z' } : {}) },
    spec: {
      capacity,
      pool: 'p',
      nodeName: 'n',
      address: { shelf: 1, slot: 1 },
      access: 'Exclusive',
      initiators: {},
      deletionPolicy: 'Delete',
      ...spec,
    },
    status,
  };
}

/** A pool of 10Gi. */
const pool = (node: Partial<PoolNode> = {}): AoEPool => ({
  apiVersion: 'aoe.dev/v1alpha1',
  kind: 'AoEPool',
  metadata: { name: 'p' },
  spec: { backend: 'lvm', volumeGroup: 'g' },
  status: { nodes: [{ name: 'n', ready: true, size: '10Gi', granularity: '4Mi', ...node }] },
});
const growth = (shape: Shape, others: AoEVolume[] = [], pools = [pool()]) => {
  const one = volume(shape);
  return growthOf(one, pools, reservationsOf([one, ...others]));
};
const other = volume({ name: 'other', capacity: '4Gi', status: { reserved: '4Gi', capacity: '4Gi' } });
const served = { reserved: '4Gi', capacity: '4Gi' };
const grown = { type: 'Grown', status: 'False', reason: 'Growing', message: '', lastTransitionTime: '' } as const;

test('what a new volume was placed for is reserved, and nothing is said', () => {
  expect(growth({})).toStrictEqual({ reserved: '4Gi' });
  expect(growth({ status: served })).toStrictEqual({ reserved: '4Gi' });
  expect(growth({ status: { capacity: '4Gi' } }), 'of an earlier version').toStrictEqual({ reserved: '4Gi' });
});

test('room for a growth is reserved when there is enough, and the agent goes on', () => {
  const message = 'room for 6Gi is reserved; the agent on n is making the volume larger, which has 4Gi now';
  const growing = { reserved: '6Gi', verdict: { status: 'False', reason: 'Growing', message } };
  expect(growth({ capacity: '6Gi', status: served }, [other])).toStrictEqual(growing);
  expect(growth({ capacity: '6Gi', status: { capacity: '4Gi' } }, [other])).toStrictEqual(growing);
  expect(growth({ capacity: '6Gi', status: { reserved: '6Gi', capacity: '4Gi' } }, [other])).toStrictEqual(growing);
  const done = growth({ capacity: '6Gi', status: { reserved: '6Gi', capacity: '6Gi', conditions: [grown] } }, [other]);
  expect(done).toStrictEqual({ reserved: '6Gi', verdict: { status: 'True', reason: 'Grown', message: 'the volume has 6Gi' } });
});

test('a growth for which there is no room is refused with numbers, and reserves nothing', () => {
  const { reserved, verdict } = growth({ capacity: '7Gi', status: served }, [other]);
  expect(reserved).toBe('4Gi');
  expect(verdict).toStrictEqual({
    status: 'False',
    reason: 'PoolFull',
    message:
      'pool p on n has 2Gi free, and 3Gi more are needed to grow from 4Gi to 7Gi; the volume grows when there is room, or set spec.capacity back to 4Gi',
  });
  const asks = volume({ name: 'other', capacity: '6Gi', status: served });
  expect(growth({ capacity: '6Gi', status: served }, [asks]).reserved, 'what others only ask for is free').toBe('6Gi');
  const has = volume({ name: 'other', capacity: '6Gi', status: { reserved: '6Gi', capacity: '4Gi' } });
  expect(growth({ capacity: '6Gi', status: served }, [has]).verdict?.reason, 'what they were given is not').toBe('PoolFull');
});

test('a growth waits for a pool that is not ready', () => {
  const away = growth({ capacity: '6Gi', status: served }, [], [pool({ ready: false, message: 'disk lost' })]);
  expect(away).toMatchObject({ reserved: '4Gi', verdict: { status: 'False', reason: 'PoolNotReady' } });
  expect(away.verdict?.message).toMatch(/disk lost$/);
  const full = growth({ capacity: '6Gi', status: served }, [], [pool({ ready: false, full: true, message: 'nearly full' })]);
  expect(full, 'or only full').toMatchObject({ reserved: '4Gi', verdict: { reason: 'PoolFull', message: /nearly full$/ } });
  expect(growth({ capacity: '6Gi', status: served }, [], []).verdict?.reason).toBe('PoolNotReady');
});

test('a growth that is taken back gives its room back, but not what the volume has', () => {
  const conditions = [grown];
  const back = growth({ capacity: '4Gi', status: { reserved: '6Gi', capacity: '4Gi', conditions } });
  expect(back).toMatchObject({ reserved: '4Gi', verdict: { status: 'True', reason: 'Grown' } });
  expect(growth({ capacity: '4Gi', status: { reserved: '6Gi', capacity: '5Gi' } }).reserved).toBe('5Gi');
  expect(growth({ capacity: '5Gi', status: { reserved: '6Gi', capacity: '4Gi' } })).toMatchObject({ reserved: '5Gi' });
});

test('volumes that do not live in a pool, or are leaving it, do not grow', () => {
  expect(growth({ spec: { external: { shelf: 1, slot: 1 } } })).toStrictEqual({ reserved: undefined });
  expect(growth({ spec: { nodeName: undefined } })).toStrictEqual({ reserved: undefined });
  expect(growth({ capacity: '6Gi', status: served, deleted: true })).toStrictEqual({ reserved: '4Gi' });
});
