// The shapes of the CSI requests and answers that the node service deals with, as protobufjs gives them: names in camel
// case, enums as numbers, 64-bit integers as Long or number. See rpc/proto/csi.proto.

type Optional<T> = T | null | undefined;

export interface VolumeCapability {
  readonly block?: Optional<object>;
  readonly mount?: Optional<{ readonly fsType?: Optional<string>; readonly mountFlags?: Optional<readonly string[]> }>;
  readonly accessMode?: Optional<{ readonly mode?: Optional<number> }>;
}

export interface StageRequest {
  readonly volumeId?: Optional<string>;
  readonly publishContext?: Optional<Readonly<Record<string, string>>>;
  readonly stagingTargetPath?: Optional<string>;
  readonly volumeCapability?: Optional<VolumeCapability>;
}

export interface UnstageRequest {
  readonly volumeId?: Optional<string>;
  readonly stagingTargetPath?: Optional<string>;
}

export interface PublishRequest extends StageRequest {
  readonly targetPath?: Optional<string>;
  readonly readonly?: Optional<boolean>;
}

export interface UnpublishRequest {
  readonly volumeId?: Optional<string>;
  readonly targetPath?: Optional<string>;
}

export interface StatsRequest {
  readonly volumeId?: Optional<string>;
  readonly volumePath?: Optional<string>;
  readonly stagingTargetPath?: Optional<string>;
}

/** VolumeUsage.Unit */
export const Unit = { Bytes: 1, Inodes: 2 } as const;

export interface StatsResponse {
  usage: { available?: number; total: number; used?: number; unit: number }[];
  volumeCondition: { abnormal: boolean; message: string };
}

/** NodeServiceCapability.RPC.Type */
export const NodeCapability = { StageUnstageVolume: 1, GetVolumeStats: 2, VolumeCondition: 4, SingleNodeMultiWriter: 5 } as const;

/** VolumeCapability.AccessMode.Mode */
export const AccessMode = {
  SingleNodeWriter: 1,
  SingleNodeReaderOnly: 2,
  MultiNodeReaderOnly: 3,
  MultiNodeSingleWriter: 4,
  MultiNodeMultiWriter: 5,
  SingleNodeSingleWriter: 6,
  SingleNodeMultiWriter: 7,
} as const;
