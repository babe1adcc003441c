import { type Kubectl, KubectlError } from '../cluster/kubectl.ts';
import type { Pod } from '../cluster/objects.ts';
import type { Reader } from '../cluster/reader.ts';
import { CONTAINER, type Component } from '../cluster/release.ts';
import type { Context } from '../context.ts';

const EXEC_MS = 20_000;
/** sysfs gives sizes of disks in sectors of this many bytes. */
export const SECTOR = 512;

/**
 * What is asked in the node plugin's container about the disk of an address ($1). Nothing here waits for a disk: it reads sysfs and
 * procfs only. Process 1 is that of the node, since the pod has hostPID.
 */
export const NODE_SCRIPT = `
echo "kernel $(uname -r)"
echo "build $(cat /proc/version_signature 2>/dev/null || uname -v)"
for file in /sys/module/aoe/parameters/*; do [ -f "$file" ] && echo "parameter \${file##*/} $(cat "$file")"; done
[ -d /sys/module/aoe ] && echo "module loaded"
[ -n "$1" ] || exit 0
disk="/sys/block/etherd!$1"
for name in state mac netif size dev; do [ -f "$disk/$name" ] && echo "disk $name $(cat "$disk/$name")"; done
devices=" $(cat "$disk/dev" 2>/dev/null) "
roots=" /etherd/$1 "
# An encrypted volume is used through mappings on the disk, which have its address in their names.
for mapping in /sys/block/dm-*; do
  name=$(cat "$mapping/dm/name" 2>/dev/null) || continue
  case "$name" in "aoe-$1-"*) ;; *) continue ;; esac
  echo "mapping $name"
  devices="$devices$(cat "$mapping/dev") "
  roots="$roots/\${mapping##*/} /mapper/$name "
done
# A raw block device is bound from devtmpfs: its root is the name of the device.
while read -r id parent dev root target options rest; do
  case "$devices" in *" $dev "*) echo "mount $target $options $rest" ;; esac
  case "$roots" in *" $root "*) echo "bound $target $options" ;; esac
done < /proc/1/mountinfo
exit 0
`;

/** What the node plugin's container knows of a node and one disk. */
export interface NodeFacts {
  readonly kernel: string | undefined;
  /** What the distribution says of the kernel's version: `/proc/version_signature` of Ubuntu, or `uname -v`. */
  readonly build?: string;
  readonly isModuleLoaded: boolean;
  /** Of the kernel module aoe. */
  readonly parameters: Readonly<Record<string, string>>;
  /** Files of the disk in sysfs: `state`, `mac`, `netif`, `size` in sectors. Absent: the kernel has no such disk. */
  readonly disk: Readonly<Record<string, string>> | undefined;
  /** Names of the mappings through which an encrypted volume is used. */
  readonly mappings: readonly string[];
  /** Of the disk, and of the mappings. */
  readonly mounts: readonly { readonly target: string; readonly isReadOnly: boolean; readonly type: string }[];
}

export function parseNodeFacts(text: string): NodeFacts {
  const lines = text.split('\n').map((line) => line.split(' '));
  const valuesOf = (kind: string) => lines.filter(([first]) => first === kind).map(([, ...rest]) => rest);
  const disk = Object.fromEntries(valuesOf('disk').map(([name = '', ...value]) => [name, value.join(' ')]));
  const build = valuesOf('build')[0]?.join(' ');
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
    ...(build === undefined ? {} : { build }),
    isModuleLoaded: valuesOf('module').length > 0,
    parameters: Object.fromEntries(valuesOf('parameter').map(([name = '', value = '']) => [name, value])),
    disk: Object.keys(disk).length > 0 ? disk : undefined,
    mappings: valuesOf('mapping').map(([name = '']) => name),
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
  [ -f "$path" ] && echo "size $(stat -L -c %s "$path")"
  [ -b "$path" ] || continue
  # By number: without udev the node in /dev has another name than the kernel's device.
  device=/sys/dev/block/$((0x$(stat -L -c %t "$path"))):$((0x$(stat -L -c %T "$path")))
  [ -f "$device/size" ] && echo "sectors $(cat "$device/size")"
  [ "$(cat "$device/dm/suspended" 2>/dev/null)" = 1 ] && echo "suspended"
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
  const numberOf = (name: string) => {
    const text = lines.find((line) => line.startsWith(`${name} `))?.slice(name.length + 1);
    return text === undefined ? undefined : Number(text);
  };
  const sectors = numberOf('sectors');
  return {
    hasSocket: lines.includes('socket'),
    path: lines.find((line) => line.startsWith('backing '))?.slice('backing '.length),
    bytes: sectors === undefined ? numberOf('size') : sectors * SECTOR,
    isSuspended: lines.includes('suspended'),
  };
}

/** Runs scripts in the pods of the release. What cannot be done is told by a warning, or a note in the reader, and is undefined. */
export class Prober {
  readonly #kubectl: Pick<Kubectl, 'run'>;
  readonly #reader: Pick<Reader, 'orNote'>;
  readonly #warn: (text: string) => void;

  constructor({ kubectl, reader, warn }: Pick<Context, 'kubectl' | 'reader' | 'warn'>) {
    this.#kubectl = kubectl;
    this.#reader = reader;
    this.#warn = warn;
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

  async run(pod: Pod, component: Exclude<Component, 'controller'>, script: string, args: readonly string[]): Promise<string | undefined> {
    const { name, namespace = '' } = pod.metadata;
    const command = ['exec', name, '--namespace', namespace, '--container', CONTAINER[component], '--', 'sh', '-c', script, 'sh', ...args];
    try {
      return await this.#reader.orNote(() => this.#kubectl.run(command, { timeoutMs: EXEC_MS }));
    } catch (error) {
      if (!(error instanceof KubectlError)) throw error;
      this.#warn(`${error.message}\n`);
      return undefined;
    }
  }
}
