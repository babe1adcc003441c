import { DRIVER_NAME } from '../api/meta.ts';
import { csi, type Handlers } from '../rpc/mod.ts';

const { Service, VolumeExpansion } = csi.v1.PluginCapability;

const SERVICES = [
  Service.Type.CONTROLLER_SERVICE,
  Service.Type.VOLUME_ACCESSIBILITY_CONSTRAINTS,
  Service.Type.GROUP_CONTROLLER_SERVICE,
  Service.Type.SNAPSHOT_ACCESSIBILITY_CONSTRAINTS,
];

/**
 * The CSI Identity service, the same in controller and node plugin, but for the SnapshotMetadata service, which the controller has where
 * it is turned on. `isReady` answers Probe.
 */
export function identityService(
  version: string,
  isReady: () => boolean,
  { snapshotMetadata = false }: { snapshotMetadata?: boolean } = {},
): Handlers<csi.v1.Identity> {
  const services = snapshotMetadata ? [...SERVICES, Service.Type.SNAPSHOT_METADATA_SERVICE] : SERVICES;
  return {
    getPluginInfo: async () => ({ name: DRIVER_NAME, vendorVersion: version }),
    getPluginCapabilities: async () => ({
      capabilities: [...services.map((type) => ({ service: { type } })), { volumeExpansion: { type: VolumeExpansion.Type.ONLINE } }],
    }),
    probe: async () => ({ ready: { value: isReady() } }),
  };
}
