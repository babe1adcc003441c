export {
  type ConfigReply,
  type ExchangeOptions,
  type IdentifyReply,
  Initiator,
  type Path,
  type TargetAddress,
  withInitiator,
} from './initiator.ts';
export { type AcquireResult, acquire, type LockHolder, lockTime, type ReleaseResult, release } from './lock/lock.ts';
export { escapeString, formatLock, type LockOwner, type LockText, parseLock, sameBytes, sameOwner } from './lock/text.ts';
export { listInterfaces, type NetworkInterface, type SelectedInterfaces, selectInterfaces } from './net/interfaces.ts';
export { ioctl, lastError } from './net/libc.ts';
export { type FrameSocket, RawSocket, SocketError } from './net/socket.ts';
export { type AtaArgument, AtaCommand, AtaFlag, emitAta, parseAta, SECTOR } from './wire/ata.ts';
export {
  type ConfigArgument,
  ConfigCommand,
  configRequest,
  emitConfig,
  MAX_CONFIG_STRING,
  parseConfig,
  replacementOf,
  testAndReplaceRequest,
} from './wire/config.ts';
export {
  BROADCAST_MAC,
  Command,
  describeError,
  ErrorCode,
  ETHERTYPE,
  emitFrame,
  Flag,
  type Frame,
  type Header,
  padFrame,
  parseFrame,
} from './wire/header.ts';
export { emitIdentity, type Identity, parseIdentity } from './wire/identify.ts';
