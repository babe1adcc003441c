import { DRIVER_NAME } from '../api/meta.ts';
import { csi, type Handlers } from '../rpc/mod.ts';

const { Service, VolumeExpansion } = csi.v1.PluginCapability;

const SERVICES = [Service.Type.CONTROLLER_SERVICE, Service.Type.VOLUME_ACCESSIBILITY_CONSTRAINTS, Service.Type.GROUP_CONTROLLER_SERVICE];

/** The CSI Identity service, the same in controller and node plugin. `isReady` answers Probe. */
export function identityService(version: string, isReady: () => boolean): Handlers<csi.v1.Identity> {
  return {
    getPluginInfo: async () => ({ name: DRIVER_NAME, vendorVersion: version }),
    getPluginCapabilities: async () => ({
      capabilities: [...SERVICES.map((type) => ({ service: { type } })), { volumeExpansion: { type: VolumeExpansion.Type.ONLINE } }],
    }),
    probe: async () => ({ ready: { value: isReady() } }),
  };
}
