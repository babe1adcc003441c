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
  heartbeatSeconds: z
    .number()
    .int()
    .optional()
    .describe(
      'The node plugin of this node sends a frame to all targets at this interval, so that they hear the node while its disks are idle.',
    ),
  suspicion: z
    .object({ question: z.string().max(63).describe('Answers to an earlier question do not count.') })
    .optional()
    .describe(
      'The operator asks the agents for how long their targets have not heard this node, which is not Ready: see takeover.after of the chart.',
    ),
  heard: z
    .array(
      z.object({
        node: z.string().describe('The node with status.suspicion.'),
        question: z.string().max(63).describe('The question that is answered.'),
        silentSeconds: z.number().int().describe('For at least how long the target here had not heard that node when it was asked.'),
        hears: z.number().int().describe('How many others of the nodes that send heartbeats the target hears.'),
        of: z.number().int().describe('How many of them there are that can reach the target: on its segment, with an interface there.'),
      }),
    )
    .max(1000)
    .optional()
    .meta({ 'x-kubernetes-list-type': 'map', 'x-kubernetes-list-map-keys': ['node'] })
    .describe("The agent's answers about nodes that the operator suspects."),
  blocks: z
    .object({
      port: z.number().int().min(1).max(65535).describe('TCP port, at the addresses of the Node.'),
      certificate: z.string().max(4096).describe('Certificate with which the agent answers, in PEM. It is another one after each start.'),
    })
    .optional()
    .describe(
      'Where the CSI controller asks the agent which blocks of snapshots have changed. Absent when the agent does not answer that.',
    ),
  conditions: Conditions.optional(),
});
export type AoENodeStatus = z.infer<typeof AoENodeStatus>;
