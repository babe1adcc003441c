import { isRootHeld, poolDevices } from './held-root.ts';

it('says whether the kernel holds a metadata snapshot', () => {
  expect(isRootHeld('0 262144 thin-pool 1 12/1024 64/2048 - rw discard_passdown queue_if_no_space - 1024 \n')).toBe(false);
  expect(isRootHeld('0 262144 thin-pool 1 12/1024 64/2048 17 rw discard_passdown queue_if_no_space - 1024 \n')).toBe(true);
  expect(isRootHeld('0 262144 thin-pool Fail\n')).toBeUndefined();
});

it('names the devices of a pool as LVM does', () => {
  expect(poolDevices('my-vg', 'thin-1')).toStrictEqual({ pool: 'my--vg-thin--1-tpool', metadata: '/dev/mapper/my--vg-thin--1_tmeta' });
});
