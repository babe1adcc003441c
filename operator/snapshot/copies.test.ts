import assert from 'node:assert/strict';
import type { Address } from '../../api/address.ts';
import type { AoEPool } from '../../api/pool.ts';
import type { AoESnapshot } from '../../api/snapshot.ts';
import { type AoEVolume, VOLUME_FINALIZER } from '../../api/volume.ts';
import { SnapshotCopies, sourceOf } from './copies.ts';

const A = { shelf: 9, slot: 1 };
const B = { shelf: 9, slot: 2 };
const MAC = '02:00:5e:10:00:01';

function volume(name: string, spec: object = {}, rest: { status?: object; metadata?: object } = {}): AoEVolume {
  const placed = { pool: 'thick', nodeName: 'b', address: { shelf: 1, slot: 1 }, source: { snapshot: 's' } };
  const metadata = { name, uid: name, finalizers: [VOLUME_FINALIZER], ...rest.metadata };
  return { metadata, spec: { ...placed, ...spec }, status: rest.status ?? {} } as AoEVolume;
}

function snapshot(status: object = {}): AoESnapshot {
  const taken = { nodeName: 'a', pool: 'thin', capacity: '1Gi', createdAt: '2026-11-28T08:00:00Z' };
  return { metadata: { name: 's', uid: 's', resourceVersion: '5' }, spec: {}, status: { ...taken, ...status } } as AoESnapshot;
}

function copiesOf(volumes: AoEVolume[], stored = snapshot()) {
  const bySource = { get: (name: string) => volumes.filter((each) => sourceOf(each)[0] === name).map(({ metadata }) => metadata.name) };
  const snapshots = { get: () => stored, list: () => [stored] };
  const pools = { get: (name: string) => ({ spec: { backend: name === 'thick' ? 'lvm' : 'lvm-thin' } }) as AoEPool };
  return new SnapshotCopies({
    snapshots,
    pools,
    volumes: { get: (name) => volumes.find(({ metadata }) => metadata.name === name) },
    bySource,
  });
}

const give = (address: Address) => () => address;
const none = (): Address => assert.fail('no address is needed');

test('a volume beside a snapshot that shares no blocks is copied, too', () => {
  const stored = snapshot({ pool: 'thick' });
  const fields = copiesOf([volume('v', { nodeName: 'a' })], stored).fieldsOf(stored, none);
  expect(fields).toStrictEqual({ copies: [{ volume: 'v', node: 'a' }], copyAddress: undefined });
});

for (const [what, other] of [
  ['has its data', volume('v', {}, { status: { capacity: '1Gi' } })],
  ['is deleted', volume('v', {}, { metadata: { deletionTimestamp: 'now' } })],
  ['is not placed', volume('v', {}, { metadata: { finalizers: [] } })],
  ['shares the blocks of the snapshot', volume('v', { pool: 'thin', nodeName: 'a' })],
  ['is made of another snapshot', volume('v', { source: { snapshot: 't' } })],
] as const) {
  test(`a volume that ${what} copies nothing`, () => {
    expect(copiesOf([other]).fieldsOf(snapshot(), none)).toStrictEqual({ copies: undefined, copyAddress: undefined });
  });
}

test('copies are named, with the addresses of their nodes; one on another node needs an address, which stays', () => {
  const copies = copiesOf([volume('w', {}, { status: { copy: { macs: [MAC] } } }), volume('v')]);
  const named = [
    { volume: 'v', node: 'b' },
    { volume: 'w', node: 'b', macs: [MAC] },
  ];
  expect(copies.fieldsOf(snapshot(), give(A))).toStrictEqual({ copies: named, copyAddress: A });
  expect(copies.fieldsOf(snapshot({ copyAddress: A }), none)).toStrictEqual({ copies: named, copyAddress: A });
});

test('a copy on the node of the snapshot, in another pool, needs none', () => {
  const copies = copiesOf([volume('v', { nodeName: 'a' })]);
  expect(copies.fieldsOf(snapshot(), none)).toStrictEqual({ copies: [{ volume: 'v', node: 'a' }], copyAddress: undefined });
});

test('an address is taken back only when it is served no more', () => {
  expect(copiesOf([]).fieldsOf(snapshot({ copyAddress: A, copyServed: A }), none)).toMatchObject({ copies: undefined, copyAddress: A });
  expect(copiesOf([]).fieldsOf(snapshot({ copyAddress: A }), none)).toMatchObject({ copyAddress: undefined });
});

test('an address counts from the moment it is given, and is given again while it is not known whether it was written', () => {
  const copies = copiesOf([volume('v')]);
  expect(copies.at(A)).toBeUndefined();
  copies.fieldsOf(snapshot(), give(A));
  expect([copies.at(A), copies.at(B)]).toStrictEqual(['s', undefined]);
  expect(copies.fieldsOf(snapshot(), give(B))).toMatchObject({ copyAddress: A });
  copies.settle('s', undefined);
  expect(copies.at(A), 'it was refused').toBeUndefined();
});

test('without a free address the copy waits', () => {
  const refused = () => ({ refused: 'AddressRangeExhausted', message: '' }) as const;
  expect(copiesOf([volume('v')]).fieldsOf(snapshot(), refused)).toMatchObject({ copyAddress: undefined });
});
