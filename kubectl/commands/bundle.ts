import { writeFileSync } from 'node:fs';
import { basename } from 'node:path';
import { collect } from '../bundle/collect.ts';
import { objectFiles } from '../bundle/files.ts';
import { namesOf } from '../bundle/names.ts';
import { Redactor } from '../bundle/redact.ts';
import { type TarFile, tarGz } from '../bundle/tar.ts';
import { KubectlError } from '../cluster/kubectl.ts';
import type { Pod } from '../cluster/objects.ts';
import { componentOf } from '../cluster/release.ts';
import type { Context, ExitStatus } from '../context.ts';
import { AGENT_SCRIPT, NODE_SCRIPT, Prober } from '../path/probe.ts';
import { observe } from './status.ts';

const LOGS_MS = 60_000;
/** Of each container: the newest. */
const LOG_LINES = 30_000;
/** Of each container, in bytes, for very long lines. kubectl counts from the oldest of the newest lines, so the end of the log is cut. */
const LOG_BYTES = 32 << 20;
/** Lists, logs and probes at a time: each is a process of kubectl. */
const AT_ONCE = 4;

/**
 * State of the kernel for people who help: no data of volumes. sysfs writes MAC addresses of targets without colons (`%pm` in
 * drivers/block/aoe/aoeblk.c); they get them here, since nothing else tells such an address from other words.
 */
export const DEVICES_SCRIPT = `
mac() { sed 's/^\\(..\\)\\(..\\)\\(..\\)\\(..\\)\\(..\\)\\(..\\)$/\\1:\\2:\\3:\\4:\\5:\\6/' "$1"; }
for disk in /sys/block/etherd!*; do [ -d "$disk" ] && echo "disk \${disk##*!} $(cat "$disk/state") $(mac "$disk/mac") $(cat "$disk/netif") sectors $(cat "$disk/size") inflight $(cat "$disk/inflight")"; done
for device in /sys/block/dm-*; do [ -d "$device" ] && echo "dm \${device##*/} $(cat "$device/dm/name") suspended $(cat "$device/dm/suspended") sectors $(cat "$device/size")"; done
for link in /sys/class/net/*; do echo "link \${link##*/} $(cat "$link/address") MTU $(cat "$link/mtu") $(cat "$link/operstate")"; done
exit 0
`;

/** Applies an act to all, a few at a time. */
async function each<T, R>(items: readonly T[], act: (item: T) => Promise<R>): Promise<R[]> {
  const results: R[] = [];
  let next = 0;
  const lane = async () => {
    for (let index = next++; index < items.length; index = next++) results[index] = await act(items[index] as T);
  };
  await Promise.all(Array.from({ length: AT_ONCE }, lane));
  return results;
}

/** The logs of all containers of our pods, those of their last run before a restart, too. */
async function logFiles({ reader, kubectl }: Context, pods: readonly Pod[]): Promise<TarFile[]> {
  const wanted = pods.flatMap((pod) => {
    const containers = [...(pod.spec.initContainers ?? []), ...(pod.spec.containers ?? [])];
    return containers.flatMap(({ name }) => {
      const restarts = pod.status?.containerStatuses?.find((status) => status.name === name)?.restartCount ?? 0;
      return [{ pod, name, isPrevious: false }, ...(restarts > 0 ? [{ pod, name, isPrevious: true }] : [])];
    });
  });
  const files = await each(wanted, async ({ pod: { metadata }, name, isPrevious }) => {
    const path = `logs/${metadata.name}/${name}${isPrevious ? '.previous' : ''}.log`;
    const args = [
      'logs',
      metadata.name,
      '--namespace',
      metadata.namespace ?? '',
      '--container',
      name,
      '--timestamps',
      `--tail=${LOG_LINES}`,
      `--limit-bytes=${LOG_BYTES}`,
    ];
    const text = await reader
      .orNote(async () => marked(await kubectl.run([...args, ...(isPrevious ? ['--previous'] : [])], { timeoutMs: LOGS_MS })))
      .catch(said);
    return text === undefined ? [] : [{ path, text }];
  });
  return files.flat();
}

/** A log with a note where it is cut. */
function marked(log: string): string {
  const lines = log.split('\n').length - 1;
  const older = lines >= LOG_LINES ? `(these are the newest ${LOG_LINES} lines: what is older is not in the bundle)\n` : '';
  const newer = Buffer.byteLength(log) >= LOG_BYTES ? `\n(cut after ${LOG_BYTES >> 20} MiB: what is newer is not in the bundle)\n` : '';
  return `${older}${log}${newer}`;
}

/** A failure of one part is a part of the bundle. */
function said(error: unknown): string {
  if (!(error instanceof KubectlError)) throw error;
  return `${error.message}\n`;
}

async function probeFiles(context: Context, pods: readonly Pod[]): Promise<TarFile[]> {
  const prober = new Prober(context);
  const wanted = pods.flatMap((pod) => {
    const component = componentOf(pod);
    return component === 'node' || component === 'agent' ? [{ pod, component } as const] : [];
  });
  const files = await each(wanted, async ({ pod, component }) => {
    const script = `${component === 'node' ? `(${NODE_SCRIPT})` : `(${AGENT_SCRIPT})`}\n${DEVICES_SCRIPT}`;
    const text = await prober.run(pod, component, script, []);
    return text === undefined ? [] : [{ path: `nodes/${pod.spec.nodeName ?? pod.metadata.name}/${component}.txt`, text }];
  });
  return files.flat();
}

/** What can be promised: the names of what is gone are known only from where a program has written them. */
const REPLACED = `replaced by pseudonyms.
That is sure for what exists now. The name of what is gone is replaced only when an object or a field of a log has it; look for others in the sentences of logs`;

function readme({ line, now }: Context, notSeen: readonly string[]): string {
  const absent = notSeen.length === 0 ? 'Nothing was left out for lack of rights.' : `Left out: ${notSeen.join('; ')}.`;
  return `Support bundle of aoe-csi, made at ${new Date(now()).toISOString()}
Namespace of the release: ${line.namespace}
Names of namespaces, claims, pods, VolumeSnapshots and Secrets, and MAC addresses: ${line.isOn('redact') ? REPLACED : 'as they are'}
${absent}

status.txt, locks.txt, orphans.txt, copies.txt
                                     what kubectl aoe says
volumes/                             each volume with its conditions and events
users.txt                            the pods that use a volume
resources/                           objects, without values of environment variables; no Secrets
events.txt                           events about them, the oldest first
logs/                                logs of our pods; .previous: of the run before the last restart
nodes/                               state of the kernel, with --exec
`;
}

function replaced(files: readonly TarFile[], act: (text: string) => string): TarFile[] {
  return files.map(({ path, text }) => ({ path, text: act(text) }));
}

export async function bundle(context: Context): Promise<ExitStatus> {
  const { reader, line, out, warn, now } = context;
  const { namespace } = line;
  const isRedacted = line.isOn('redact');
  const time = new Date(now()).toISOString().replace(/\..*|[-:]/g, '');
  const file = line.text('file') ?? `aoe-csi-bundle-${time}.tar.gz`;
  const collected = await collect(reader, await observe(context), namespace);
  const pods = collected.pods ?? [];
  const [logs, probes] = [await logFiles(context, pods), line.isOn('exec') ? await probeFiles(context, pods) : []];
  const { notSeen } = reader;
  const logTexts = logs.map(({ text }) => text);
  const redactor = isRedacted ? new Redactor(namesOf(collected, namespace, logTexts)) : undefined;
  // Pseudonyms first, then the texts made of them: so no text has a name that the objects have not, and no pseudonym is replaced again.
  const objects = objectFiles(redactor ? redactor.value(collected) : collected, notSeen, { namespace, now: now(), isRedacted });
  const made = [{ path: 'README.txt', text: readme(context, notSeen) }, ...objects];
  const files = redactor
    ? [...replaced(made, (text) => redactor.macs(text)), ...replaced([...logs, ...probes], (text) => redactor.text(text))]
    : [...made, ...logs, ...probes];
  const folder = basename(file).replace(/\.(tar\.gz|tgz)$/, '');
  const packed = files.map(({ path, text }) => ({ path: `${folder}/${path}`, text }));
  writeFileSync(file, tarGz(packed, Math.floor(now() / 1000)), { mode: 0o600 });
  out(`${file}: ${files.length} files\n`);
  if (redactor) {
    const names = `${file.replace(/\.(tar\.gz|tgz)$/, '')}.names.json`;
    writeFileSync(names, `${JSON.stringify(redactor.names, null, 2)}\n`, { mode: 0o600 });
    out(`${names}: what the pseudonyms stand for. Keep it for yourself\n`);
  } else
    warn(
      'It has names of namespaces, claims, pods, VolumeSnapshots and Secrets, and MAC addresses; --redact replaces them. Look into it before you send it.\n',
    );
  return 0;
}
