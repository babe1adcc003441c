import { DRIVER_NAME } from '../../../api/meta.ts';
import type { Log } from '../../../kube/mod.ts';
import type { Handlers, pluginregistration } from '../../../rpc/mod.ts';

/** The kubelet's registration service (pluginregistration v1): the kubelet finds its socket in the folder plugins_registry, and calls it. */
export function registrationService(endpoint: string, log: Log): Handlers<pluginregistration.Registration> {
  return {
    getInfo: async () => ({ type: 'CSIPlugin', name: DRIVER_NAME, endpoint, supportedVersions: ['1.0.0'] }),
    notifyRegistrationStatus: async (request) => {
      if (request.pluginRegistered) log.info({ endpoint }, 'registered with the kubelet');
      else log.error({ endpoint, error: request.error ?? '' }, 'the kubelet refused the registration');
      return {};
    },
  };
}
