import { z } from 'zod';

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

/** A standard Kubernetes condition (KEP-1623). `lastTransitionTime` changes only with `status`. */
export const Condition = z.object({
  type: z.string().min(1).max(316),
  status: z.enum(['True', 'False', 'Unknown']),
  observedGeneration: z.number().int().min(0).optional(),
  lastTransitionTime: z.string().meta({ format: 'date-time' }),
  reason: z
    .string()
    .max(1024)
    .regex(/^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?$/),
  message: z.string().max(32768),
});
export type Condition = z.infer<typeof Condition>;

/** List of conditions, merged by type so that each writer owns its own. */
export const Conditions = z.array(Condition).meta({ 'x-kubernetes-list-type': 'map', 'x-kubernetes-list-map-keys': ['type'] });

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
}

/** A resource with its type, its metadata, and its spec and status. */
export interface Resource<Spec, Status> {
  apiVersion: string;
  kind: string;
  metadata: ObjectMeta;
  spec: Spec;
  status?: Status;
}
