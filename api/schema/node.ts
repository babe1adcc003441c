import { z } from 'zod';
import { Conditions } from './meta.ts';

export const AoENodeSpec = z.object({
  maintenance: z.boolean().default(false).describe('Place no new volumes on this node.'),
});
export type AoENodeSpec = z.infer<typeof AoENodeSpec>;

export const AoENodeStatus = z.object({
  segment: z.string().optional().describe('L2 segment of the AoE interfaces: the Node label aoe.dev/segment, or "default".'),
  interfaces: z
    .array(
      z.object({
        name: z.string(),
        mac: z.string(),
        mtu: z.number().int(),
        local: z.boolean().optional().describe('The initiator end of the local veth pair, which reaches only the target of this node.'),
      }),
    )
    .optional()
    .meta({ 'x-kubernetes-list-type': 'map', 'x-kubernetes-list-map-keys': ['name'] })
    .describe('Interfaces on which this node is an initiator.'),
  targets: z.number().int().optional().describe('Number of volumes exported by this node.'),
  agentSeen: z
    .string()
    .optional()
    .meta({ format: 'date-time' })
    .describe('When the agent of this storage node last reported that it is alive. It reports about once a minute.'),
  conditions: Conditions.optional(),
});
export type AoENodeStatus = z.infer<typeof AoENodeStatus>;
