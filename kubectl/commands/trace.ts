import { createWriteStream, rmSync, type WriteStream } from 'node:fs';
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
  const stream = createWriteStream(file, { mode: 0o600 });
  const args = ['exec', pod.metadata.name, '--namespace', line.namespace, '--container', CONTAINER.target, '--', ...command];
  out(`Recording the frames of volume ${name} on ${node} for ${seconds} s\n`);
  const done = await recorded(stream, () => reader.orNote(() => kubectl.run(args, { timeoutMs: seconds * 1000 + MARGIN_MS, to: stream })));
  if (done === undefined) {
    rmSync(file, { force: true });
    return 1;
  }
  out(`${file}: ${stream.bytesWritten} bytes; read it with tcpdump -tttnnver ${file}, or wireshark\n`);
  return 0;
}

/** Ends the file when the act has ended, however it did. */
async function recorded<T>(stream: WriteStream, act: () => Promise<T>): Promise<T> {
  try {
    return await act();
  } finally {
    stream.end();
    await finished(stream);
  }
}
