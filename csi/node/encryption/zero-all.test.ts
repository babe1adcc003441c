import assert from 'node:assert/strict';
import { setImmediate } from 'node:timers/promises';
import { diskBytesFor, userBytesOf } from '../../../api/volume.ts';
import { Code } from '../../../rpc/status.ts';
import { block, context, fails, mountOf, PASSPHRASE, setUpEncrypted } from '../testing/calls.ts';

const MiB = 2 ** 20;
const secrets = { encryptionPassphrase: PASSPHRASE };
const AUTHENTICATED = { encryption: 'LUKS2Authenticated' } as const;
/** Zeros are written to it in three parts. */
const USER_BYTES = 160 * MiB;
const PARTS = ['zero 0', 'zero 64', 'zero 128'];

/** A node with a volume with authenticated encryption, `v1`, whose disk is empty. */
function authenticated() {
  const all = setUpEncrypted(AUTHENTICATED.encryption);
  all.node.target.bytes = diskBytesFor(AUTHENTICATED, USER_BYTES);
  return all;
}

test('all of a new disk is written with zeros before it is used, and once only', async () => {
  const { node, encryption, luks, stage, unstage } = authenticated();
  await stage();
  expect(encryption.calls).toStrictEqual(['format authenticated', 'open', ...PARTS]);
  expect(luks()).toStrictEqual({ uuid: 'uid-1', state: 'Formatted' });
  expect(node.filesystems.calls).toStrictEqual(['format ext4']);
  await unstage();
  expect(node.driver.mapped.size).toBe(0);
  await stage();
  expect(encryption.calls.slice(-2)).toStrictEqual(['close', 'open']);
  expect(node.filesystems.calls).toStrictEqual(['format ext4', 'check ext4']);
});

test('zeros that were cut short are gone on with from what is recorded, and the header stays', async () => {
  const { encryption, luks, stage, node } = authenticated();
  encryption.failAfter = 'zeros';
  await expect(stage()).rejects.toSatisfy(fails(Code.INTERNAL, /killed after: zeros/));
  expect(luks()).toStrictEqual({ uuid: 'uid-1', state: 'Formatting', zeroed: '0' });
  expect(node.mounter.calls).toStrictEqual([]);
  const volume = node.volumes.items.get('v1') ?? assert.fail();
  volume.status = { ...volume.status, luks: { uuid: 'uid-1', state: 'Formatting', zeroed: '64Mi' } };
  await stage();
  expect(encryption.calls).toStrictEqual(['format authenticated', 'open', 'zero 0', 'close', 'open', 'zero 64', 'zero 128']);
  expect(luks()).toStrictEqual({ uuid: 'uid-1', state: 'Formatted' });
  expect(node.filesystems.calls).toStrictEqual(['format ext4']);
});

test('a header that was not finished is written again: nothing says that its zeros have begun', async () => {
  const { encryption, luks, stage } = authenticated();
  encryption.failAfter = 'open';
  await expect(stage()).rejects.toSatisfy(fails(Code.INTERNAL, /killed after/));
  expect(luks()).toStrictEqual({ uuid: 'uid-1', state: 'Formatting' });
  await stage();
  expect(encryption.calls).toStrictEqual(['format authenticated', 'open', 'close', 'format authenticated', 'open', ...PARTS]);
});

test('a call says how far the zeros are, and an unstage ends them, so that another node can go on', async () => {
  const { node, service, encryption, luks, publishContext, stagingTargetPath, stage, unstage } = authenticated();
  const waiting = Promise.withResolvers<void>();
  encryption.beforeZero = async (start, signal) => {
    if (start < 64 * MiB) return;
    waiting.resolve();
    await new Promise((_, reject) => signal.addEventListener('abort', () => reject(signal.reason)));
  };
  const caller = new AbortController();
  const request = { volumeId: 'v1', publishContext, stagingTargetPath, volumeCapability: mountOf(), secrets };
  const call = service.nodeStageVolume(request, { ...context, signal: caller.signal });
  await waiting.promise;
  caller.abort();
  await expect(call).rejects.toSatisfy(
    fails(Code.DEADLINE_EXCEEDED, /first writing of the disk with zeros, 40 % of 160Mi, of volume v1 on node worker-1 .* it goes on/),
  );
  await expect(unstage()).rejects.toSatisfy(fails(Code.ABORTED, /NodeStageVolume is being ended for it/));
  // The kubelet calls again, and again.
  let outcome: string;
  do {
    await setImmediate();
    outcome = await unstage().then(() => 'done', String);
  } while (/is being ended|still under way/.test(outcome));
  expect(outcome).toBe('done');
  expect(node.driver.mapped.size).toBe(0);
  expect(node.target.holder).toBeUndefined();
  expect(luks()?.state).toBe('Formatting');
  encryption.beforeZero = async () => {};
  await stage();
  expect(luks()?.state).toBe('Formatted');
});

test('a node that lost the volume does not record its zeros, and makes no file system', async () => {
  const { node, volume, encryption, stage } = authenticated();
  encryption.beforeZero = async (start) => {
    if (start === 128 * MiB) volume.spec.initiators = { nodes: ['worker-2'] };
  };
  await expect(stage()).rejects.toSatisfy(fails(Code.ABORTED, /given to another/));
  expect(node.filesystems.calls).toStrictEqual([]);
});

test('a header without tags is not used where they are expected', async () => {
  const { node, volume, stage } = authenticated();
  volume.spec.source = { snapshot: 's' };
  const inside = { content: { kind: 'found', type: 'ext4' }, blank: false, bytes: 1 } as const;
  const luks = { uuid: 'of-source', passphrase: secrets.encryptionPassphrase, inside };
  Object.assign(node.target, { content: { kind: 'found', type: 'crypto_LUKS' }, luks });
  await expect(stage()).rejects.toSatisfy(
    fails(Code.FAILED_PRECONDITION, /one without authentication, .* has encryption LUKS2Authenticated/),
  );
  expect(node.driver.mapped.size).toBe(0);
  expect(node.mounter.calls).toStrictEqual([]);
});

test('a mapping with tags never grows, and its size is what the user gets of the disk', async () => {
  const { node, service, encryption, stage, stagingTargetPath } = authenticated();
  await stage(block);
  node.target.bytes += 8 * MiB;
  const request = { volumeId: 'v1', volumePath: stagingTargetPath, capacityRange: { requiredBytes: USER_BYTES } } as object;
  const { capacityBytes } = await service.nodeExpandVolume(request, context);
  expect(Number(capacityBytes)).toBe(userBytesOf(AUTHENTICATED, node.target.bytes));
  expect(encryption.calls).not.toContain('grow');
});
