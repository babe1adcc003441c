import { z } from 'zod';
import { GROUP, VERSION } from '../meta.ts';
import { AOE_NODES, AOE_POOLS, AOE_SNAPSHOT_GROUPS, AOE_SNAPSHOTS, AOE_VOLUMES, type ResourceType } from '../resources.ts';
import { AoENodeSpec, AoENodeStatus } from './node.ts';
import { AoEPoolSpec, AoEPoolStatus } from './pool.ts';
import { AoESnapshotSpec, AoESnapshotStatus } from './snapshot.ts';
import { AoESnapshotGroupSpec, AoESnapshotGroupStatus } from './snapshot-group.ts';
import { AoEVolumeSpec, AoEVolumeStatus, VOLUME_RULES } from './volume.ts';

interface Column {
  name: string;
  jsonPath: string;
  type?: string;
  priority?: number;
}

interface Definition {
  type: ResourceType;
  singular: string;
  shortNames: string[];
  description: string;
  spec: z.ZodType;
  status: z.ZodType;
  columns: Column[];
  selectable?: string[];
  /** CEL rules about the object as a whole. */
  rules?: { rule: string; message: string }[];
}

const AGE: Column = { name: 'Age', jsonPath: '.metadata.creationTimestamp', type: 'date' };

const DEFINITIONS: Definition[] = [
  {
    type: AOE_VOLUMES,
    singular: 'aoevolume',
    shortNames: ['aoev'],
    description: 'AoEVolume is a disk that a storage node exports over ATA-over-Ethernet.',
    spec: AoEVolumeSpec,
    status: AoEVolumeStatus,
    columns: [
      { name: 'Size', jsonPath: '.status.capacity' },
      { name: 'Pool', jsonPath: '.spec.pool' },
      { name: 'Node', jsonPath: '.spec.nodeName' },
      { name: 'Address', jsonPath: '.status.address' },
      { name: 'Access', jsonPath: '.spec.access' },
      { name: 'Holder', jsonPath: '.status.holder.name' },
      { name: 'Phase', jsonPath: '.status.phase' },
      { name: 'Reason', jsonPath: '.status.conditions[?(@.type=="Ready")].message', priority: 1 },
      AGE,
    ],
    selectable: ['.spec.nodeName', '.spec.pool', '.spec.move.nodeName'],
    rules: VOLUME_RULES,
  },
  {
    type: AOE_SNAPSHOTS,
    singular: 'aoesnapshot',
    shortNames: ['aoes'],
    description: 'AoESnapshot is the data of an AoEVolume as it was at one instant. It is on the same storage node, in the same pool.',
    spec: AoESnapshotSpec,
    status: AoESnapshotStatus,
    selectable: ['.status.freeze.nodeName'],
    columns: [
      { name: 'Volume', jsonPath: '.spec.volumeName' },
      { name: 'Size', jsonPath: '.status.capacity' },
      { name: 'Pool', jsonPath: '.status.pool' },
      { name: 'Node', jsonPath: '.status.nodeName' },
      { name: 'Phase', jsonPath: '.status.phase' },
      { name: 'Reason', jsonPath: '.status.conditions[?(@.type=="Ready")].message', priority: 1 },
      { name: 'Taken', jsonPath: '.status.createdAt', type: 'date' },
    ],
  },
  {
    type: AOE_SNAPSHOT_GROUPS,
    singular: 'aoesnapshotgroup',
    shortNames: ['aoesg'],
    description:
      'AoESnapshotGroup is the data of several AoEVolumes as it was at one instant, on any nodes and in any pools: all of it, or none.',
    spec: AoESnapshotGroupSpec,
    status: AoESnapshotGroupStatus,
    columns: [
      { name: 'Phase', jsonPath: '.status.phase' },
      { name: 'Stage', jsonPath: '.status.stage', priority: 1 },
      { name: 'Reason', jsonPath: '.status.conditions[?(@.type=="Ready")].message', priority: 1 },
      { name: 'Taken', jsonPath: '.status.createdAt', type: 'date' },
      AGE,
    ],
    rules: [
      { rule: 'self.metadata.name.size() <= 240', message: 'a name may have at most 240 characters: those of the members are longer' },
    ],
  },
  {
    type: AOE_POOLS,
    singular: 'aoepool',
    shortNames: ['aoep'],
    description: 'AoEPool names the storage that volumes are made of, and the nodes that have it.',
    spec: AoEPoolSpec,
    status: AoEPoolStatus,
    columns: [
      { name: 'Backend', jsonPath: '.spec.backend' },
      { name: 'Nodes', jsonPath: '.status.readyNodes', type: 'integer' },
      { name: 'Size', jsonPath: '.status.size' },
      { name: 'Free', jsonPath: '.status.free' },
      { name: 'Ready', jsonPath: '.status.conditions[?(@.type=="Ready")].status' },
      { name: 'Reason', jsonPath: '.status.conditions[?(@.type=="Ready")].message', priority: 1 },
      AGE,
    ],
  },
  {
    type: AOE_NODES,
    singular: 'aoenode',
    shortNames: ['aoen'],
    description: 'AoENode tells what a node can do with AoE: its interfaces, its segment, its health.',
    spec: AoENodeSpec,
    status: AoENodeStatus,
    columns: [
      { name: 'Segment', jsonPath: '.status.segment' },
      { name: 'Initiator', jsonPath: '.status.conditions[?(@.type=="InitiatorReady")].status' },
      { name: 'Target', jsonPath: '.status.conditions[?(@.type=="TargetReady")].status' },
      { name: 'Volumes', jsonPath: '.status.targets', type: 'integer' },
      { name: 'Maintenance', jsonPath: '.spec.maintenance', type: 'boolean' },
      AGE,
    ],
  },
];

/** JSON schema of a zod type, in the structural form that the API server accepts. */
function schemaOf(type: z.ZodType): Record<string, unknown> {
  return z.toJSONSchema(type, {
    target: 'openapi-3.0',
    io: 'input',
    override: ({ jsonSchema }) => {
      // Structural schemas forbid it for objects with properties; unknown fields are pruned, or refused by strict validation.
      if (jsonSchema.properties) delete jsonSchema.additionalProperties;
      // Not in OpenAPI 3.0.
      delete jsonSchema.propertyNames;
    },
  });
}

/** The CustomResourceDefinitions of the group, in the order of their names here. */
export function customResourceDefinitions(): Record<string, unknown>[] {
  return DEFINITIONS.map((definition) => {
    const { type } = definition;
    return {
      apiVersion: 'apiextensions.k8s.io/v1',
      kind: 'CustomResourceDefinition',
      metadata: { name: `${type.plural}.${GROUP}`, annotations: { 'helm.sh/resource-policy': 'keep' } },
      spec: {
        group: GROUP,
        scope: 'Cluster',
        names: {
          kind: type.kind,
          listKind: `${type.kind}List`,
          plural: type.plural,
          singular: definition.singular,
          shortNames: definition.shortNames,
          categories: ['aoe'],
        },
        versions: [
          {
            name: VERSION,
            served: true,
            storage: true,
            additionalPrinterColumns: definition.columns.map((column) => ({ type: 'string', ...column })),
            ...(definition.selectable ? { selectableFields: definition.selectable.map((jsonPath) => ({ jsonPath })) } : {}),
            subresources: { status: {} },
            schema: {
              openAPIV3Schema: {
                description: definition.description,
                type: 'object',
                required: ['spec'],
                ...(definition.rules ? { 'x-kubernetes-validations': definition.rules } : {}),
                properties: {
                  apiVersion: { type: 'string' },
                  kind: { type: 'string' },
                  metadata: { type: 'object' },
                  spec: schemaOf(definition.spec),
                  status: schemaOf(definition.status),
                },
              },
            },
          },
        ],
      },
    };
  });
}
