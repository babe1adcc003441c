export { type CallOptions, type NetworkAddress, RpcClient } from './client.ts';
export { aoe as aoeBlocks } from './gen/blocks.js';
export { aoe as aoeCopier } from './gen/copier.js';
export { csi } from './gen/csi.js';
export { pluginregistration } from './gen/pluginregistration.js';
export { aoe } from './gen/target.js';
export { fromInt64, int64 } from './int64.ts';
export { type CallContext, type Handlers, type RpcLog, RpcServer, type ServerIdentity } from './server.ts';
export { Code, codeName, RpcError } from './status.ts';
