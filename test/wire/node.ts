// The node service's operations by hand, on a machine with the aoe driver and no cluster:
//   node.ts FILE VOLUME-JSON STEP…      FILE keeps the volume's status between runs
// Steps: stage:TYPE (ext4, xfs, block), unstage, publish:PATH (read-only when it ends with -ro), unpublish:PATH, stats:PATH. Prints a JSON line for each.
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { formatAddress } from '../../api/address.ts';
import type { AoEVolume } from '../../api/volume.ts';
import type { VolumeClient } from '../../csi/node/contracts.ts';
import { KernelDriver } from '../../csi/node/disk/kernel-driver.ts';
import { LocalDisk } from '../../csi/node/disk/local-disk.ts';
import { SystemMounter } from '../../csi/node/disk/system-mounter.ts';
import { Cryptsetup } from '../../csi/node/encryption/cryptsetup.ts';
import { SystemFilesystems } from '../../csi/node/filesystem/system-filesystems.ts';
import { SocketWire } from '../../csi/node/lock/wire.ts';
import { StagedVolumes } from '../../csi/node/record/staged-volumes.ts';
import { nodeService } from '../../csi/node/service.ts';
import { VolumeJobs } from '../../csi/node/volume-jobs.ts';
import { csi } from '../../rpc/mod.ts';
import { exec } from '../../run/exec.ts';

const { Mode } = csi.v1.VolumeCapability.AccessMode;

interface Given {
  node: string;
  interfaces: string[];
  uid: string;
  shelf: number;
  slot: number;
  serial?: string;
  access?: 'Exclusive' | 'ReadOnlyMany' | 'Shared';
  external?: boolean;
}

const [file = '', json = '{}', ...steps] = process.argv.slice(2);
const given: Given = JSON.parse(json);
const address = { shelf: given.shelf, slot: given.slot };
const access = given.access ?? 'Exclusive';
const log = {
  debug() {},
  info: (keys: object, message: string) => console.error(message, JSON.stringify(keys)),
  warn: (keys: object, message: string) => console.error(message, JSON.stringify(keys)),
  error: (keys: object, message: string) => console.error(message, JSON.stringify(keys)),
};

const volumes: VolumeClient = {
  get: async (name) => {
    const status = existsSync(file) ? JSON.parse(readFileSync(file, 'utf8')) : {};
    const spec = {
      access,
      initiators: {},
      deletionPolicy: 'Delete',
      ...(given.external ? { external: address } : { pool: 'p', capacity: '1Gi', address }),
    };
    return { apiVersion: '', kind: 'AoEVolume', metadata: { name, uid: given.uid }, spec, status } as AoEVolume;
  },
  record: async (volume, status) =>
    writeFileSync(
      file,
      JSON.stringify({ ...volume.status, ...JSON.parse(existsSync(file) ? readFileSync(file, 'utf8') : '{}'), ...status }),
    ),
};

const driver = new KernelDriver(exec);
const mounter = new SystemMounter(exec);
const encryption = new Cryptsetup(exec);
const context = { signal: new AbortController().signal, deadline: Number.POSITIVE_INFINITY };
const interfaces = async (): Promise<readonly string[]> => given.interfaces;
const service = nodeService(
  {
    nodeName: given.node,
    nodeUID: `uid-of-${given.node}`,
    driver,
    localDisk: (address) => new LocalDisk({ driver, encryption, mounter, log }, address),
    encryption,
    filesystems: new SystemFilesystems(exec),
    mounter,
    wire: new SocketWire(interfaces),
    volumes,
    staged: new StagedVolumes('/run/aoe-csi-test'),
    removedDisks: { add() {}, async cancel() {} },
    reclaiming: () => 0,
    freezes: { async end() {} },
    jobs: new VolumeJobs(given.node),
    interfaces,
    log,
  },
  { segment: 'default' },
);

const volumeId = `test-${given.shelf}-${given.slot}`;
const stagingTargetPath = `/run/staging-${volumeId}`;
mkdirSync(stagingTargetPath, { recursive: true });
const publishContext = {
  address: formatAddress(address),
  volumeUID: given.uid,
  access,
  external: String(given.external === true),
  ...(given.serial ? { serial: given.serial } : {}),
};

async function perform(step: string): Promise<unknown> {
  const [kind = '', argument = ''] = step.split(':');
  const block = argument === 'block' || argument.includes('block');
  const mode =
    access === 'Exclusive' ? Mode.SINGLE_NODE_WRITER : access === 'Shared' ? Mode.MULTI_NODE_MULTI_WRITER : Mode.MULTI_NODE_READER_ONLY;
  const volumeCapability = {
    accessMode: { mode },
    ...(block ? { block: {} } : { mount: { fsType: kind === 'stage' ? argument : 'ext4', mountFlags: [] } }),
  };
  switch (kind) {
    case 'stage':
      return service.nodeStageVolume({ volumeId, publishContext, stagingTargetPath, volumeCapability }, context);
    case 'unstage':
      return service.nodeUnstageVolume({ volumeId, stagingTargetPath }, context);
    case 'publish':
      return service.nodePublishVolume(
        {
          volumeId,
          publishContext,
          stagingTargetPath,
          volumeCapability,
          targetPath: argument,
          readonly: argument.endsWith('-ro'),
        },
        context,
      );
    case 'unpublish':
      return service.nodeUnpublishVolume({ volumeId, targetPath: argument }, context);
    case 'stats':
      return service.nodeGetVolumeStats({ volumeId, volumePath: argument }, context);
    default:
      throw new RangeError(`no step "${kind}"`);
  }
}

for (const step of steps) {
  const start = performance.now();
  const result = await perform(step).catch((error: { code?: number; message: string }) => ({ code: error.code, message: error.message }));
  console.log(JSON.stringify({ step, ms: Math.round(performance.now() - start), result }));
}
