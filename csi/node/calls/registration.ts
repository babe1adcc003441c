import { DRIVER_NAME } from '../../../api/meta.ts';
import type { Log } from '../../../kube/mod.ts';

/** The kubelet's registration service (pluginregistration v1): the kubelet finds the socket in its plugins_registry folder and asks. */
export function registrationService(endpoint: string, log: Log) {
  return {
    getInfo: async () => ({ type: 'CSIPlugin', name: DRIVER_NAME, endpoint, supportedVersions: ['1.0.0'] }),
    notifyRegistrationStatus: async (request: { pluginRegistered?: boolean | null; error?: string | null }) => {
      if (request.pluginRegistered) log.info({ endpoint }, 'registered with the kubelet');
      else log.error({ endpoint, error: request.error ?? '' }, 'the kubelet refused the registration');
      return {};
    },
  };
}
