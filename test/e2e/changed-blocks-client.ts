// Plays the sidecar external-snapshot-metadata, on the node of the controller: node changed-blocks-client.ts SOCKET SNAPSHOT [BASE]
// Prints the ranges as JSON: those that have changed since BASE, or those that were written. After an error, its code and message.
import { Code, csi, fromInt64, RpcClient, RpcError } from '../../rpc/mod.ts';

const { v1 } = csi;
const [socket = '', snapshot = '', base] = process.argv.slice(2);
const client = new RpcClient(v1.SnapshotMetadata, v1, socket);
const stream = base
  ? client.stream('getMetadataDelta', v1.GetMetadataDeltaRequest.create({ baseSnapshotId: base, targetSnapshotId: snapshot }), {
      timeoutMs: 60_000,
    })
  : client.stream('getMetadataAllocated', v1.GetMetadataAllocatedRequest.create({ snapshotId: snapshot }), { timeoutMs: 60_000 });
try {
  const ranges: number[][] = [];
  let size = 0;
  for await (const { volumeCapacityBytes, blockMetadata } of stream) {
    size = fromInt64(volumeCapacityBytes);
    ranges.push(...(blockMetadata ?? []).map(({ byteOffset, sizeBytes }) => [fromInt64(byteOffset), fromInt64(sizeBytes)]));
  }
  console.log(JSON.stringify({ size, ranges }));
} catch (error) {
  if (!(error instanceof RpcError)) throw error;
  const name = Object.entries(Code).find(([, code]) => code === error.code)?.[0];
  console.log(JSON.stringify({ error: `${name}: ${error.message}` }));
} finally {
  client.close();
}
