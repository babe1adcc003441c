import { AOE_VOLUMES } from '../../api/resources.ts';
import { FIELD_MANAGER } from '../field-manager.ts';
import { harness, UID } from '../testing/volume-harness.ts';

const MiB = 1 << 20;

/** Volume v1 as the operator has moved it to this node, with the status that the agent of its earlier node wrote. */
async function movedHere({ moves = 1, noted }: { moves?: number; noted?: number } = {}) {
  const it = await harness();
  it.spec({ moves, address: { shelf: 7, slot: 4 } });
  const told = (type: string) => ({ type, status: 'True', reason: type, message: 'before', lastTransitionTime: '2026-01-01T00:00:00Z' });
  const status = {
    ...(moves > 1 ? { moves: moves - 1 } : {}),
    capacity: '10Mi',
    serial: '11111111222233334444',
    paths: [{ interface: 'eth9', mac: '02:00:00:00:09:09', mtu: 1500 }],
    initiators: { observedGeneration: 1, nodes: ['worker'], macs: ['02:00:00:00:01:01'] },
    conditions: ['Exported', 'Provisioned'].map(told),
  };
  await it.kube.apply(AOE_VOLUMES, { metadata: { name: 'v1', uid: UID }, status }, { fieldManager: FIELD_MANAGER, subresource: 'status' });
  it.backend.volumes.set(UID, {
    uid: UID,
    volume: 'v1',
    name: `fake/${UID}`,
    bytes: 10 * MiB,
    ...(noted === undefined ? {} : { moves: noted }),
  });
  return it;
}

test('the data of a volume that was moved here is served with a new serial number, and the report is about this node', async () => {
  const it = await movedHere();
  await it.reconcile();
  expect(it.target.volumes.get(UID)?.volume).toMatchObject({ shelf: 7, slot: 4, serial: '111111112222333344-1', macs: [] });
  const { status } = it.volume();
  expect(status).toMatchObject({ moves: 1, capacity: '10Mi', serial: '111111112222333344-1', initiators: { nodes: [], macs: [] } });
  expect(status?.paths?.map(({ interface: name }) => name)).toStrictEqual(['eth1']);
  expect(it.backend.calls, 'it is noted beside the data before it is exported, and nothing is made').toStrictEqual(['open', 'noteMoves 1']);
  await it.reconcile();
  expect(it.backend.calls).toStrictEqual(['open', 'noteMoves 1', 'open']);
});

test('what the earlier agent reported is not taken over while the data is missing here', async () => {
  const it = await movedHere();
  it.backend.volumes.clear();
  await it.reconcile();
  expect(it.backend.volumes.size, 'nothing is made in place of it').toBe(0);
  expect(it.condition('Provisioned')?.reason).toBe('BackingLost');
  expect(it.condition('Exported')?.reason).toBe('NotProvisioned');
  const { status } = it.volume();
  expect([status?.moves, status?.capacity, status?.serial, status?.initiators]).toStrictEqual([1, '10Mi', undefined, undefined]);
});

test('a copy that was not the data before the last move is not served', async () => {
  const it = await movedHere({ moves: 3, noted: 1 });
  await it.reconcile();
  expect(it.target.volumes.size).toBe(0);
  expect(it.condition('Provisioned')).toMatchObject({
    status: 'False',
    reason: 'OlderCopy',
    message: expect.stringContaining('up to move 1'),
  });
  expect(it.kube.events.map(({ reason }) => reason)).toStrictEqual(['OlderCopy']);
  it.backend.volumes.set(UID, { uid: UID, name: `fake/${UID}`, bytes: 10 * MiB, moves: 2 });
  await it.reconcile();
  expect(it.target.volumes.get(UID)?.volume.serial).toBe('111111112222333344-3');
});

test('the data before a move is served again when the volume goes back from a node that was lost before it served it', async () => {
  for (const [back, noted, reason] of [
    [true, 1, 'Provisioned'],
    [true, undefined, 'OlderCopy'],
    [false, 1, 'OlderCopy'],
  ] as const) {
    const it = await movedHere({ moves: 3, ...(noted === undefined ? {} : { noted }) });
    it.spec({ moves: 3, address: { shelf: 7, slot: 4 }, move: { id: '0123abcd', stage: 'Switched', nodeName: 'lost', pool: 'p', back } });
    await it.reconcile();
    expect(it.condition('Provisioned')?.reason).toBe(reason);
  }
});

test('the data before a move is served again although disks of the lost node were moved on, and were lost before they were served', async () => {
  for (const [noted, reason] of [
    [1, 'Provisioned'],
    [undefined, 'OlderCopy'],
  ] as const) {
    const it = await movedHere({ moves: 4, ...(noted === undefined ? {} : { noted }) });
    const move = { id: '0123abcd', stage: 'Switched', nodeName: 'lost', pool: 'p', moves: 1, back: true } as const;
    it.spec({ moves: 4, address: { shelf: 7, slot: 4 }, move });
    await it.reconcile();
    expect(it.condition('Provisioned')?.reason).toBe(reason);
  }
});

test('a volume that comes back to a target that still serves it as before is taken off first, with its lock', async () => {
  const it = await harness();
  const volumes = it.make();
  await it.admitHolder('worker', volumes);
  it.backend.volumes.set(UID, { uid: UID, name: `fake/${UID}`, bytes: 10 * MiB, moves: 1 });
  it.spec({ moves: 2, address: { shelf: 7, slot: 5 }, initiators: {} });
  expect(await it.reconcile(volumes)).toStrictEqual({ requeueAfterMs: 1 });
  expect(it.target.volumes.size).toBe(0);
  expect(it.condition('Exported')?.status).toBe('False');
  expect(it.volume().status?.initiators).toBeUndefined();
  await it.reconcile(volumes);
  expect(it.target.volumes.get(UID)?.volume).toMatchObject({ slot: 5, serial: '111111112222333344-2', macs: [] });
  expect(it.target.configString(UID)).toBe('');
  expect(it.volume().status?.holder).toBeUndefined();
});

test('an agent whose watch is late writes nothing about a volume that was moved to another node, and removes none of its data', async () => {
  const it = await harness();
  await it.reconcile();
  const old = it.volume();
  it.spec({ moves: 1, nodeName: 'elsewhere', address: { shelf: 7, slot: 4 } });
  const { status } = it.volume();
  const deleted = { ...old, metadata: { ...old.metadata, deletionTimestamp: '2026-01-01T00:00:00Z' } };
  for (const late of [{ ...old, spec: { ...old.spec, access: 'Shared' as const } }, deleted]) {
    it.remove();
    await it.reconcile(it.make({ get: () => late, list: () => [late] }));
    expect(it.volume().status).toStrictEqual(status);
    expect(it.volume().metadata.finalizers).toStrictEqual(old.metadata.finalizers);
    expect(it.backend.volumes.has(UID)).toBe(true);
  }
});
