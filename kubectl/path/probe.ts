import type { Kubectl } from '../cluster/kubectl.ts';
import type { Pod } from '../cluster/objects.ts';
import type { Reader } from '../cluster/reader.ts';
import { CONTAINER, type Component } from '../cluster/release.ts';

const EXEC_MS = 20_000;

/**
 * What is asked in the node plugin's container about the disk of an address ($1). Nothing here waits for a disk: it reads sysfs and
 * procfs only. Process 1 is that of the node, since the pod has hostPID.
 */
export const NODE_SCRIPT = `
echo "kernel $(uname -r)"
for file in /sys/module/aoe/parameters/*; do [ -f "$file" ] && echo "parameter \${file##*/} $(cat "$file")"; done
[ -d /sys/module/aoe ] && echo "module loaded"
[ -n "$1" ] || exit 0
disk="/sys/block/etherd!$1"
for name in state mac netif size dev; do [ -f "$disk/$name" ] && echo "disk $name $(cat "$disk/$name")"; done
device=$(cat "$disk/dev" 2>/dev/null) || exit 0
while read -r id parent dev root target options rest; do
  [ "$dev" = "$device" ] && echo "mount $target $options $rest"
done < /proc/1/mountinfo
# A raw block device is bound from devtmpfs: its root is the name of the device.
while read -r id parent dev root target options rest; do
  [ "$root" = "/etherd/$1" ] && echo "bound $target $options"
done < /proc/1/mountinfo
exit 0
`;

/** What the node plugin's container knows of a node and one disk. */
export interface NodeFacts {
  readonly kernel: string | undefined;
  readonly isModuleLoaded: boolean;
  /** Of the kernel module aoe. */
  readonly parameters: Readonly<Record<string, string>>;
  /** Files of the disk in sysfs: `state`, `mac`, `netif`, `size` in sectors. Absent: the kernel has no such disk. */
  readonly disk: Readonly<Record<string, string>> | undefined;
  readonly mounts: readonly { readonly target: string; readonly isReadOnly: boolean; readonly type: string }[];
}

export function parseNodeFacts(text: string): NodeFacts {
  const lines = text.split('\n').map((line) => line.split(' '));
  const valuesOf = (kind: string) => lines.filter(([first]) => first === kind).map(([, ...rest]) => rest);
  const disk = Object.fromEntries(valuesOf('disk').map(([name = '', ...value]) => [name, value.join(' ')]));
  const mounts = valuesOf('mount').map(([target = '', options = '', ...rest]) => ({
    target,
    // A file system that had errors is read-only as a whole: the last field.
    isReadOnly: [options, rest.at(-1) ?? ''].some((each) => each.split(',').includes('ro')),
    // Behind the optional fields, which end with a dash (proc(5)).
    type: rest[rest.indexOf('-') + 1] ?? '',
  }));
  const bound = valuesOf('bound').map(([target = '', options = '']) => ({
    target,
    isReadOnly: options.split(',').includes('ro'),
    type: 'block',
  }));
  return {
    kernel: valuesOf('kernel')[0]?.[0],
    isModuleLoaded: valuesOf('module').length > 0,
    parameters: Object.fromEntries(valuesOf('parameter').map(([name = '', value = '']) => [name, value])),
    disk: Object.keys(disk).length > 0 ? disk : undefined,
    mounts: [...mounts, ...bound],
  };
}

/**
 * What is asked in the agent's container about a backing volume: the paths at which it may be ($@). No command of LVM: one that
 * waits for a disk keeps others waiting.
 */
export const AGENT_SCRIPT = `
[ -S /run/aoe-csi/target.sock ] && echo "socket"
for path in "$@"; do
  [ -e "$path" ] || continue
  echo "backing $path"
  real=$(readlink -f "$path")
  [ -b "$real" ] && echo "size $(( $(cat "/sys/class/block/\${real##*/}/size") * 512 ))"
  [ -f "$real" ] && echo "size $(stat -c %s "$real")"
  [ "$(cat "/sys/class/block/\${real##*/}/dm/suspended" 2>/dev/null)" = 1 ] && echo "suspended"
done
exit 0
`;

/** What the agent's container knows of a backing volume. */
export interface AgentFacts {
  /** Whether the target listens for its agent. */
  readonly hasSocket: boolean;
  /** Where the backing volume is; absent when it is not there. */
  readonly path: string | undefined;
  readonly bytes: number | undefined;
  /** Whether the device mapper holds back all its I/O. */
  readonly isSuspended: boolean;
}

export function parseAgentFacts(text: string): AgentFacts {
  const lines = text.split('\n');
  const size = lines.find((line) => line.startsWith('size '))?.slice('size '.length);
  return {
    hasSocket: lines.includes('socket'),
    path: lines.find((line) => line.startsWith('backing '))?.slice('backing '.length),
    bytes: size === undefined ? undefined : Number(size),
    isSuspended: lines.includes('suspended'),
  };
}

/** Runs scripts in the pods of the release. */
export class Prober {
  readonly #kubectl: Pick<Kubectl, 'run'>;
  readonly #reader: Pick<Reader, 'orNote'>;

  constructor({ kubectl, reader }: { kubectl: Pick<Kubectl, 'run'>; reader: Pick<Reader, 'orNote'> }) {
    this.#kubectl = kubectl;
    this.#reader = reader;
  }

  /** @param address such as e7.3; without one, only the node is looked at */
  async node(pod: Pod, address = ''): Promise<NodeFacts | undefined> {
    const text = await this.run(pod, 'node', NODE_SCRIPT, [address]);
    return text === undefined ? undefined : parseNodeFacts(text);
  }

  /** @param paths at which the backing volume may be */
  async agent(pod: Pod, paths: readonly string[]): Promise<AgentFacts | undefined> {
    const text = await this.run(pod, 'agent', AGENT_SCRIPT, paths);
    return text === undefined ? undefined : parseAgentFacts(text);
  }

  /** Undefined, and a note in the reader, when the person may not do it. */
  run(pod: Pod, component: Exclude<Component, 'controller'>, script: string, args: readonly string[]): Promise<string | undefined> {
    const { name, namespace = '' } = pod.metadata;
    const command = ['--namespace', namespace, 'exec', name, '--container', CONTAINER[component], '--', 'sh', '-c', script, 'sh', ...args];
    return this.#reader.orNote(() => this.#kubectl.run(command, { timeoutMs: EXEC_MS }));
  }
}
