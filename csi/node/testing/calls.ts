import assert from 'node:assert/strict';
import { join } from 'node:path';
import type { Access } from '../../../api/access.ts';
import { csi } from '../../../rpc/mod.ts';
import { nodeService } from '../service.ts';
import { FakeNode } from './fakes.ts';

export const { Mode } = csi.v1.VolumeCapability.AccessMode;

export const mountOf = (fsType = 'ext4', mode: number = Mode.SINGLE_NODE_WRITER): csi.v1.IVolumeCapability => ({
  mount: { fsType },
  accessMode: { mode },
});
export const block: csi.v1.IVolumeCapability = { block: {}, accessMode: { mode: Mode.SINGLE_NODE_WRITER } };

/** The context of a call that nobody cancels. */
export const context = { signal: new AbortController().signal, deadline: Number.POSITIVE_INFINITY };

/** A node with volume `v1`, and the kubelet's calls for it. `attachment` changes the publish context. */
export function setUp(attachment: Record<string, string> = {}) {
  const node = new FakeNode();
  const service = nodeService(node.deps, { segment: 'rack-1' });
  const stagingTargetPath = join(node.directory, 'staging');
  const targetPath = join(node.directory, 'pods/p1/mount');
  const publishContext = { address: 'e7.3', serial: 'S1', volumeUID: 'uid-1', access: 'Exclusive', external: 'false', ...attachment };
  const base = { volumeId: 'v1', publishContext, stagingTargetPath };
  return {
    node,
    service,
    stagingTargetPath,
    targetPath,
    publishContext,
    stage: (volumeCapability = mountOf(), extra = {}) => service.nodeStageVolume({ ...base, volumeCapability, ...extra }, context),
    unstage: () => service.nodeUnstageVolume({ volumeId: 'v1', stagingTargetPath }, context),
    publish: (volumeCapability = mountOf(), extra = {}) =>
      service.nodePublishVolume({ ...base, targetPath, volumeCapability, ...extra }, context),
    unpublish: () => service.nodeUnpublishVolume({ volumeId: 'v1', targetPath }, context),
    /** What the kernel knows of the volume's disk. */
    disk: () => node.driver.known.get('e7.3') ?? assert.fail('the kernel has no disk e7.3'),
    /** Another volume, `v0`, was staged here, at the same address. */
    stagedOther: (stagingPath: string, access: Access = 'Exclusive') =>
      node.deps.staged.put('v0', { version: 1, volumeUID: 'uid-0', address: 'e7.3', access, external: false, stagingPath }),
    /** Another host had the volume since, and has unmounted it. */
    hadByAnother: (): void => {
      delete node.target.holder;
      node.mounter.calls.length = 0;
    },
  };
}

/** How FakeMounter notes that the guard below a pod's volume is mounted. */
export const guardAt = (path: string): string => `mount ro,nosuid,nodev,noexec,mode=0000,size=4k,nr_inodes=1 aoe-csi-no-volume ${path}`;

export const PASSPHRASE = 'correct horse';

/** As {@link setUp}, with an encrypted volume, whose disk is empty. */
export function setUpEncrypted(encryption: 'LUKS2' | 'LUKS2Authenticated', attachment: Record<string, string> = {}) {
  const all = setUp({ encryption, ...attachment });
  const { node } = all;
  const volume = node.volumes.items.get('v1') ?? assert.fail();
  volume.spec.encryption = encryption;
  return {
    ...all,
    volume,
    encryption: node.encryption,
    luks: () => node.volumes.items.get('v1')?.status?.luks,
    stage: (capability = mountOf(), extra: object = { secrets: { encryptionPassphrase: PASSPHRASE } }) => all.stage(capability, extra),
  };
}

/** For assert.rejects(): the error has this code, and its message matches. */
export const fails = (code: number, message: RegExp) => (error: unknown) => {
  const { code: found, message: text } = error as { code: number; message: string };
  assert.equal(found, code, text);
  assert.match(text, message);
  return true;
};
