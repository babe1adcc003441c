import { localMac } from './local-link.ts';

test("the local link's MAC is unicast, locally administered, and the node's own", () => {
  expect(localMac('storage-1')).toMatch(/^02(:[0-9a-f]{2}){5}$/);
  expect(localMac('storage-1')).toBe(localMac('storage-1'));
  expect(localMac('storage-1')).not.toBe(localMac('storage-2'));
});
