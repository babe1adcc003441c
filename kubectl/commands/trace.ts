import { renameSync, rmSync, statSync } from 'node:fs';
import { open } from 'node:fs/promises';
import type { Writable } from 'node:stream';
import { finished } from 'node:stream/promises';
import type { AoEVolume } from '../../api/volume.ts';
import { UsageError } from '../../run/config.ts';
import { findVolume, NotFoundError } from '../cluster/find.ts';
import { CONTAINER, podOn, releasePods } from '../cluster/release.ts';
import type { Context, ExitStatus } from '../context.ts';

/** Where the chart has the target listen for its agent. */
const SOCKET = '/run/aoe-csi/target.sock';
const DEFAULT_SECONDS = 10;
/** For the start of kubectl and of the trace, and for the end of both, in milliseconds. */
const MARGIN_MS = 30_000;

/** Flags of aoe-target trace that are passed on: the target checks their values. */
const PASSED = ['frames', 'mac', 'snap'] as const;

/**
 * The command line of the trace in the pod of the target.
 * @param text value of a flag of ours
 * @throws UsageError
 */
export function traceCommand(volume: AoEVolume, text: (flag: string) => string | undefined): { command: string[]; seconds: number } {
  const seconds = Number(text('seconds') ?? DEFAULT_SECONDS);
  if (!Number.isInteger(seconds) || seconds < 1 || seconds > 3600)
    throw new UsageError(`--seconds=${text('seconds')}: write a whole number from 1 to 3600`);
  const passed = PASSED.flatMap((flag) => {
    const value = text(flag);
    return value === undefined ? [] : [`--${flag}`, value];
  });
  const uid = volume.metadata.uid ?? '';
  const command = ['aoe-target', 'trace', '--socket', SOCKET, '--volume', uid, '--seconds', `${seconds}`, ...passed];
  return { command, seconds };
}

export async function trace(context: Context): Promise<ExitStatus> {
  const { reader, kubectl, line, out } = context;
  const { volume } = await findVolume(reader, line.words[0] ?? '');
  const { name } = volume.metadata;
  if (volume.spec.external) throw new NotFoundError(`the target of volume ${name} is outside this project: capture on its host`);
  const { command, seconds } = traceCommand(volume, line.text);
  const node = volume.spec.nodeName;
  const pod = podOn(await releasePods(reader, line.namespace), 'target', node);
  if (!pod) throw new NotFoundError(`no target pod was found on node ${node ?? '(none yet)'} in namespace ${line.namespace} (--namespace)`);
  const file = line.text('file') ?? `${name}.pcap`;
  const args = ['exec', pod.metadata.name, '--namespace', line.namespace, '--container', CONTAINER.target, '--', ...command];
  out(`Recording the frames of volume ${name} on ${node} for ${seconds} s\n`);
  const bytes = await recorded(file, (to) => reader.orNote(() => kubectl.run(args, { timeoutMs: seconds * 1000 + MARGIN_MS, to })));
  if (bytes === undefined) return 1;
  out(`${file}: ${bytes} bytes; read it with tcpdump -tttnnver ${file}, or wireshark\n`);
  return 0;
}

/**
 * Gives the file what the act writes. Until the act has done all, that is in FILE.part, and an earlier file of that name stays. A pipe or a
 * device is written itself.
 * @param act undefined when it could not be done
 * @returns how many bytes were written; undefined when the act could not be done
 */
async function recorded(file: string, act: (to: Writable) => Promise<string | undefined>): Promise<number | undefined> {
  const isReplaced = statSync(file, { throwIfNoEntry: false })?.isFile() ?? true;
  const path = isReplaced ? `${file}.part` : file;
  const stream = (await open(path, 'w', 0o600)).createWriteStream();
  const written = finished(stream);
  // Told below, or by the act, when it comes to that.
  written.catch(() => undefined);
  let done: string | undefined;
  try {
    done = await act(stream);
  } finally {
    stream.end();
    await written.catch(() => undefined);
    // What was recorded before a failure stays beside the file.
    if (isReplaced && done === undefined && stream.bytesWritten === 0) rmSync(path, { force: true });
  }
  await written;
  if (done === undefined) return undefined;
  if (isReplaced) renameSync(path, file);
  return stream.bytesWritten;
}
