import assert from 'node:assert/strict';
import { LUKS_HEADER_BYTES } from '../../../api/volume.ts';
import { Code, type RpcError } from '../../../rpc/status.ts';
import { block, context, fails, mountOf, PASSPHRASE, setUpEncrypted } from '../testing/calls.ts';
import type { Step } from '../testing/fake-encryption.ts';

const secrets = { encryptionPassphrase: PASSPHRASE };
const MAPPED = '/dev/mapper/aoe-e7.3-uid-1';

const encrypted = (attachment: Record<string, string> = {}) => setUpEncrypted('LUKS2', attachment);

test('stage encrypts an empty disk once, and makes the file system in the mapping', async () => {
  const { node, encryption, luks, stage, unstage, stagingTargetPath } = encrypted();
  await stage();
  expect(luks()).toStrictEqual({ uuid: 'uid-1', state: 'Formatted' });
  expect(node.target.content).toStrictEqual({ kind: 'found', type: 'crypto_LUKS' });
  expect(node.target.luks?.inside.content).toStrictEqual({ kind: 'found', type: 'ext4' });
  expect(node.mounter.calls).toStrictEqual([`mount  ${MAPPED} ${stagingTargetPath}`]);
  await stage();
  await unstage();
  expect(node.driver.mapped.size, 'the key is not left in the kernel').toBe(0);
  expect(node.driver.flushed).toStrictEqual(['e7.3']);
  await stage();
  expect(encryption.calls).toStrictEqual(['format', 'open', 'close', 'open']);
  expect(node.filesystems.calls).toStrictEqual(['format ext4', 'check ext4']);
});

test('a block volume gets the mapping, and never the disk itself', async () => {
  const { node, stage, publish, unpublish, unstage, service, targetPath } = encrypted();
  await stage(block);
  // The real bind mount is checked on a cluster: here the target is a plain file.
  await publish(block).catch((error: unknown) => expect((error as RpcError).code).toBe(Code.UNAVAILABLE));
  expect(node.mounter.calls.filter((each) => each.startsWith('mount'))).toStrictEqual([`mount bind ${MAPPED} ${targetPath}`]);
  await unpublish();
  await unstage();
  await node.driver.attach('e7.3');
  await node.recordStaged({ encrypted: true });
  await expect(publish(block)).rejects.toSatisfy(fails(Code.FAILED_PRECONDITION, /not staged/));
  expect(service).toBeDefined();
});

for (const [what, given, message] of [
  ['is missing', {}, /no secret encryptionPassphrase.*node-stage-secret-name/],
  ['is empty', { secrets: { encryptionPassphrase: '' } }, /is empty/],
  ['is too long', { secrets: { encryptionPassphrase: 'x'.repeat(5000) } }, /longer than 4096 bytes/],
  ['is not text', { secrets: { encryptionPassphrase: 'a\ufffdb' } }, /is not UTF-8 text/],
] as const) {
  test(`a passphrase that ${what} is INVALID_ARGUMENT, before anything is touched`, async () => {
    const { node, stage } = encrypted();
    await expect(stage(mountOf(), given)).rejects.toSatisfy(fails(Code.INVALID_ARGUMENT, message));
    expect(node.wire.calls).toStrictEqual([]);
  });
}

test('a wrong passphrase is one clear error, and changes nothing', async () => {
  const { node, stage, unstage, encryption } = encrypted();
  await stage();
  await unstage();
  const wrong = { secrets: { encryptionPassphrase: 'wrong' } };
  await expect(stage(mountOf(), wrong)).rejects.toSatisfy(
    fails(Code.UNAUTHENTICATED, /^volume v1 \(e7\.3\) on node worker-1: the passphrase/),
  );
  expect(encryption.calls.filter((each) => each === 'format')).toHaveLength(1);
  await stage();
  expect(node.filesystems.calls).toStrictEqual(['format ext4', 'check ext4']);
});

test('a disk that was encrypted and has no header any more is refused, and never formatted again', async () => {
  const { node, stage, unstage, encryption } = encrypted();
  await stage();
  await unstage();
  delete node.target.luks;
  Object.assign(node.target, { content: { kind: 'nothing' }, blank: true });
  await expect(stage()).rejects.toSatisfy(fails(Code.FAILED_PRECONDITION, /formatted with crypto_LUKS before, but the disk is empty/));
  Object.assign(node.target, { blank: false });
  await expect(stage()).rejects.toSatisfy(fails(Code.FAILED_PRECONDITION, /holds data that is no known LUKS header/));
  expect(encryption.calls.filter((each) => each === 'format')).toHaveLength(1);
});

test('a header with another UUID is refused', async () => {
  const { node, stage, unstage } = encrypted();
  await stage();
  await unstage();
  Object.assign(node.target.luks ?? assert.fail(), { uuid: 'other' });
  await expect(stage()).rejects.toSatisfy(fails(Code.FAILED_PRECONDITION, /UUID other.*is uid-1; it is not opened/));
});

for (const [what, content] of [
  ['a file system', { kind: 'found', type: 'ext4' }],
  ['contradicting signatures', { kind: 'ambivalent', detail: 'x' }],
] as const) {
  test(`a disk with ${what} is not encrypted`, async () => {
    const { node, stage, encryption } = encrypted();
    Object.assign(node.target, { content, blank: false });
    await expect(stage()).rejects.toSatisfy(fails(Code.FAILED_PRECONDITION, /neither mounted nor formatted/));
    expect(encryption.calls).toStrictEqual([]);
  });
}

for (const step of ['begin of format', 'format', 'open', 'zeros'] as const satisfies readonly Step[]) {
  test(`a first stage that ends after "${step}" is begun again: nothing was written through the mapping yet`, async () => {
    const { node, stage, encryption, luks } = encrypted();
    encryption.failAfter = step;
    await expect(stage()).rejects.toSatisfy(fails(Code.INTERNAL, /killed after/));
    expect(luks()?.state).toBe('Formatting');
    expect(node.target.holder?.node, 'the lock stays: a program may still write').toBe('worker-1');
    await stage();
    expect(luks()?.state).toBe('Formatted');
    expect(encryption.calls.filter((each) => each === 'format')).toHaveLength(2);
    expect(node.target.luks?.inside.content).toStrictEqual({ kind: 'found', type: 'ext4' });
  });
}

test('an unfinished header with a UUID that this volume does not have is not overwritten', async () => {
  const { node, stage, encryption } = encrypted();
  encryption.failAfter = 'format';
  await expect(stage()).rejects.toThrow(/killed/);
  Object.assign(node.target.luks ?? assert.fail(), { uuid: 'other' });
  await expect(stage()).rejects.toSatisfy(fails(Code.FAILED_PRECONDITION, /UUID other/));
  expect(encryption.calls.filter((each) => each === 'format')).toHaveLength(1);
});

test('a node that lost the volume while it wrote the header does not go on', async () => {
  const { node, volume, stage, encryption } = encrypted();
  const format = encryption.format.bind(encryption);
  encryption.format = async (...args) => {
    await format(...args);
    volume.spec.initiators = { nodes: ['worker-2'] };
  };
  await expect(stage()).rejects.toSatisfy(fails(Code.ABORTED, /given to another/));
  expect(node.mounter.calls).toStrictEqual([]);
});

for (const access of ['Shared', 'ReadOnlyMany'] as const) {
  const capability = access === 'Shared' ? { block: {}, accessMode: { mode: 5 } } : mountOf('ext4', 3);
  test(`a ${access} volume is opened on many nodes, and never encrypted by one of them`, async () => {
    const { node, volume, stage, encryption } = encrypted({ access });
    volume.spec.access = access;
    await expect(stage(capability)).rejects.toSatisfy(fails(Code.FAILED_PRECONDITION, /disk is empty/));
    expect(encryption.calls).toStrictEqual([]);
    const inside = { content: { kind: 'found', type: 'ext4' }, blank: false, bytes: 1 } as const;
    Object.assign(node.target, {
      content: { kind: 'found', type: 'crypto_LUKS' },
      blank: false,
      luks: { uuid: 'u', passphrase: PASSPHRASE, inside },
    });
    volume.status = { ...volume.status, luks: { uuid: 'u', state: 'Formatted' } };
    await stage(capability);
    expect(encryption.calls).toStrictEqual([access === 'Shared' ? 'open' : 'open read-only']);
  });
}

test('a volume that was made of a snapshot opens with the key of its source, and is never formatted', async () => {
  const { node, volume, stage, unstage, luks, encryption } = encrypted();
  volume.spec.source = { snapshot: 's' };
  await expect(stage()).rejects.toSatisfy(fails(Code.FAILED_PRECONDITION, /no LUKS header is found/));
  const inside = { content: { kind: 'found', type: 'ext4' }, blank: false, bytes: 1 } as const;
  Object.assign(node.target, {
    content: { kind: 'found', type: 'crypto_LUKS' },
    luks: { uuid: 'of-source', passphrase: PASSPHRASE, inside },
  });
  await stage();
  expect(luks()).toStrictEqual({ uuid: 'of-source', state: 'Formatted' });
  await unstage();
  await stage();
  expect(encryption.calls).toStrictEqual(['open', 'close', 'open']);
});

test('a volume whose encryption is not what it was attached with is not staged', async () => {
  const { volume, stage } = encrypted();
  delete volume.spec.encryption;
  await expect(stage()).rejects.toSatisfy(fails(Code.FAILED_PRECONDITION, /has encryption none, and was attached with LUKS2/));
});

test('unstage fails while a program has the mapping open, and the lock stays', async () => {
  const { node, stage, unstage, encryption } = encrypted();
  await stage();
  encryption.busy = true;
  await expect(unstage()).rejects.toThrow(/still in use on this node, by \/dev\/dm-0/);
  expect(node.target.holder?.node).toBe('worker-1');
  encryption.busy = false;
  await unstage();
  expect(node.target.holder).toBeUndefined();
});

test('what a node had open before it lost the volume is closed before it opens it again', async () => {
  const { node, stage, encryption, hadByAnother } = encrypted();
  await stage();
  hadByAnother();
  await stage();
  expect(encryption.calls).toStrictEqual(['format', 'open', 'close', 'open']);
  expect(node.driver.flushed).toStrictEqual(['e7.3']);
});

test('the mapping and the file system in it grow without a passphrase; sizes are those that the user gets', async () => {
  const { node, stage, service, encryption, stagingTargetPath } = encrypted();
  await stage();
  const bytes = (64 << 20) + LUKS_HEADER_BYTES;
  node.target.bytes = bytes;
  node.filesystems.sizes.set(MAPPED, 48 << 20);
  const request = { volumeId: 'v1', volumePath: stagingTargetPath, capacityRange: { requiredBytes: 64 << 20 } } as object;
  const { capacityBytes } = await service.nodeExpandVolume(request, context);
  expect(Number(capacityBytes)).toBe(64 << 20);
  expect(encryption.calls).toStrictEqual(['format', 'open', 'grow']);
  expect(node.filesystems.calls).toStrictEqual(['format ext4', 'grow ext4']);
  await service.nodeExpandVolume(request, context);
  expect(encryption.calls).toHaveLength(3);
  const more = { ...request, capacityRange: { requiredBytes: (64 << 20) + 1 } } as object;
  await expect(service.nodeExpandVolume(more, context)).rejects.toSatisfy(fails(Code.UNAVAILABLE, /not yet/));
});

test('a publish that must stage again says what it needs when it has no passphrase', async () => {
  const { node, stage, publish, hadByAnother } = encrypted();
  await stage();
  hadByAnother();
  await expect(publish()).rejects.toSatisfy(fails(Code.FAILED_PRECONDITION, /delete all pods.*node-publish-secret-name/));
  await publish(mountOf(), { secrets });
  expect(node.driver.mapped.get('e7.3')?.path).toBe(MAPPED);
});

test('no error, log line or record has the passphrase', async () => {
  const { node, stage, unstage } = encrypted();
  const said: unknown[] = [];
  for (const level of ['debug', 'info', 'warn', 'error'] as const)
    Object.assign(node.deps.log, { [level]: (...args: unknown[]) => said.push(args) });
  node.encryption.failAfter = 'format';
  said.push(await stage().catch((error: unknown) => error));
  await stage();
  await unstage();
  said.push(await stage(mountOf(), { secrets: { encryptionPassphrase: `${PASSPHRASE}x` } }).catch((error: unknown) => error));
  said.push(await node.deps.staged.get('v1'), node.volumes.items.get('v1'));
  expect(said.length).toBeGreaterThan(4);
  const { inspect } = await import('node:util');
  expect(inspect(said, { depth: 20, showHidden: true })).not.toContain(PASSPHRASE);
});
