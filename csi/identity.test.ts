import { csi } from '../rpc/mod.ts';
import { identityService } from './identity.ts';

const { SNAPSHOT_METADATA_SERVICE } = csi.v1.PluginCapability.Service.Type;
const context = { signal: new AbortController().signal, deadline: Number.POSITIVE_INFINITY };

it.each([true, false])('says whether there is a SnapshotMetadata service: %s', async (snapshotMetadata) => {
  const { capabilities } = await identityService('1', () => true, { snapshotMetadata }).getPluginCapabilities({}, context);
  expect(capabilities?.some(({ service }) => service?.type === SNAPSHOT_METADATA_SERVICE)).toBe(snapshotMetadata);
});
