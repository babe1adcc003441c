import type { LimitNumbers } from '../../api/limits/limits.ts';
import { type aoe, fromInt64, int64 } from '../../rpc/mod.ts';

type WireLimits = aoe.target.v1.Limits.$Properties;

/** Limits as the target takes them. */
export function toWire({ readIOPS, writeIOPS, burstSeconds, ...limits }: LimitNumbers): WireLimits {
  return {
    iops: int64(limits.iops),
    readIops: int64(readIOPS),
    writeIops: int64(writeIOPS),
    bytesPerSecond: int64(limits.bytesPerSecond),
    readBytesPerSecond: int64(limits.readBytesPerSecond),
    writeBytesPerSecond: int64(limits.writeBytesPerSecond),
    burstSeconds,
  };
}

/** Limits as the target reports them. */
export function fromWire(limits: WireLimits): LimitNumbers {
  return {
    iops: fromInt64(limits.iops),
    readIOPS: fromInt64(limits.readIops),
    writeIOPS: fromInt64(limits.writeIops),
    bytesPerSecond: fromInt64(limits.bytesPerSecond),
    readBytesPerSecond: fromInt64(limits.readBytesPerSecond),
    writeBytesPerSecond: fromInt64(limits.writeBytesPerSecond),
    burstSeconds: limits.burstSeconds ?? 0,
  };
}
