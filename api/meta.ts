export type { Condition } from './schema/meta.ts';

/** API group of every resource of this project. */
export const GROUP = 'aoe.dev';
/** The served and stored version. */
export const VERSION = 'v1alpha1';
/** Name of the CSI driver, as pods, StorageClasses and CSINode objects spell it. */
export const DRIVER_NAME = 'aoe.dev';
/** CSI topology key and Node label: the L2 segment a node's AoE interfaces are on. AoE is not routed. */
export const SEGMENT_KEY = 'aoe.dev/segment';
/** Segment of a node that carries no `aoe.dev/segment` label. */
export const DEFAULT_SEGMENT = 'default';

/** Annotation of objects that the CSI controller has created: its value is `csi`. */
export const CREATED_BY = 'aoe.dev/created-by';

/** The part of ObjectMeta that this project reads or writes. */
export interface ObjectMeta {
  name: string;
  namespace?: string;
  uid?: string;
  resourceVersion?: string;
  generation?: number;
  creationTimestamp?: string;
  deletionTimestamp?: string;
  labels?: Record<string, string>;
  annotations?: Record<string, string>;
  finalizers?: string[];
  ownerReferences?: { apiVersion: string; kind: string; name: string; uid: string }[];
}

/** A resource with its type, its metadata, and its spec and status. */
export interface Resource<Spec, Status> {
  apiVersion: string;
  kind: string;
  metadata: ObjectMeta;
  spec: Spec;
  status?: Status;
}
