/** Names of the do-nothing driver that both its program and its deployment use. */
export const DRIVER = 'nothing.bench.aoe.dev';
/** Below the kubelet's directory. */
export const PLUGIN_DIRECTORY = `plugins/${DRIVER}`;
