export { type AtaArgument, AtaCommand, AtaFlag, emitAta, parseAta } from './ata.ts';
export {
  type ConfigArgument,
  ConfigCommand,
  configRequest,
  emitConfig,
  MAX_CONFIG_STRING,
  parseConfig,
  replacementOf,
  testAndReplaceRequest,
} from './config.ts';
export { BROADCAST_MAC, Command, ErrorCode, ETHERTYPE, emitFrame, Flag, type Frame, type Header, padFrame, parseFrame } from './header.ts';
export { emitIdentity, type Identity, parseIdentity } from './identify.ts';
export {
  type ConfigReply,
  type ExchangeOptions,
  type IdentifyReply,
  Initiator,
  type Path,
  type TargetAddress,
  withInitiator,
} from './initiator.ts';
export { listInterfaces, type NetworkInterface, type SelectedInterfaces, selectInterfaces } from './interfaces.ts';
export { ioctl, lastError } from './libc.ts';
export { type AcquireResult, acquire, type LockHolder, lockTime, type ReleaseResult, release } from './lock.ts';
export { escapeString, formatLock, type LockOwner, type LockText, parseLock, sameBytes, sameOwner } from './lock-text.ts';
export { type FrameSocket, RawSocket, SocketError } from './socket.ts';
