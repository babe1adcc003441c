import { Code, RpcError } from '../../../rpc/status.ts';
import type { StageJob } from './stage-job.ts';

/**
 * The disk may be used in one way at a time: e2fsck must not repair what a pod writes to as a raw disk, nor a pod write below a mounted
 * file system.
 * @throws RpcError ALREADY_EXISTS when the disk is used in the other way
 */
export async function refuseOtherKind({ name, usage, disk, stagingPath }: StageJob): Promise<void> {
  const other =
    usage.kind === 'block' ? await disk.filesystemAt(stagingPath) : (await disk.liveMounts()).find(({ kind }) => kind === 'node');
  if (!other) return;
  const [found, wanted] = usage.kind === 'block' ? ['a file system', 'a raw block device'] : ['a raw block device', 'a file system'];
  throw new RpcError(Code.ALREADY_EXISTS, `${name} is used as ${found} already, at ${other.target}, but ${wanted} was requested`);
}
