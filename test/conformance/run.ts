import { Answer } from './answer.ts';
import { type Check, Deviation, type Group } from './check.ts';
import type { Session } from './session.ts';

export type Outcome = 'pass' | 'deviates' | 'not tried';

export interface Result {
  readonly group: string;
  readonly name: string;
  readonly source: string;
  readonly outcome: Outcome;
  /** What was seen instead, or why it was not tried. */
  readonly seen?: string;
  /** Beginnings of the request sent last and of the answer heard last, in hex. */
  readonly sent?: string;
  readonly heard?: string;
}

/** The check needs what this run does not have. */
export class NotTried extends Error {
  override readonly name = 'NotTried';
}

const CHECK_LIMIT_MS = 90_000;
const RESET_LIMIT_MS = 30_000;
const SHOWN = 80;

/**
 * Runs every check of the groups, one after the other, each on a target without lists and string. Ends in bounded time:
 * each check has a limit, and a target that fell silent is restarted, or given up.
 */
export async function run(session: Session, groups: readonly Group[], onResult: (result: Result) => void = () => {}): Promise<Result[]> {
  const results: Result[] = [];
  const tell = (result: Result): void => {
    results.push(result);
    onResult(result);
  };
  let silentSince: string | undefined;
  const config = (await session.a.query()).config.string.slice();
  for (const group of groups) {
    for (const check of group.checks) {
      const found = silentSince === undefined ? await runOne(session, check) : notTried(`the target is silent since "${silentSince}"`);
      tell({ group: group.name, name: check.name, source: check.source, ...found });
      if (silentSince !== undefined || (await recovered(session))) continue;
      silentSince = check.name;
      const seen = `it answers nobody any more after "${check.name}"`;
      tell({ group: group.name, name: 'goes on answering', source: 'AoEr11 1.1', outcome: 'deviates', seen });
    }
  }
  if (silentSince === undefined) {
    await session.putBack();
    await session.a.config(4, config);
  }
  return results;
}

const notTried = (seen: string): Pick<Result, 'outcome' | 'seen'> => ({ outcome: 'not tried', seen });

async function runOne(session: Session, check: Check): Promise<Pick<Result, 'outcome' | 'seen' | 'sent' | 'heard'>> {
  try {
    await limited(check.run(session), CHECK_LIMIT_MS);
    return { outcome: 'pass' };
  } catch (error) {
    if (error instanceof NotTried) return notTried(error.message);
    // Whatever a wrong answer makes the check stumble over is the answer's fault.
    const seen = error instanceof Error ? error.message : String(error);
    const answer = session.heard.at(-1);
    return { outcome: 'deviates', seen, sent: hex(session.sent), ...(answer instanceof Answer ? { heard: hex(answer.bytes) } : {}) };
  }
}

/** Makes the target as it was before the check. False when it does not answer any more. */
async function recovered(session: Session): Promise<boolean> {
  const reset = () => limited(session.reset(), RESET_LIMIT_MS);
  try {
    await reset();
    return true;
  } catch {
    if (!session.restart) return false;
  }
  try {
    await session.restart();
    session.mac = '';
    await session.meet(10_000);
    await reset();
    return true;
  } catch {
    return false;
  }
}

async function limited<T>(work: Promise<T>, limitMs: number): Promise<T> {
  let limit: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    limit = setTimeout(() => reject(new Deviation(`not done within ${limitMs / 1000} s`)), limitMs);
  });
  try {
    return await Promise.race([work, late]);
  } finally {
    clearTimeout(limit);
  }
}

function hex(bytes: Uint8Array): string {
  const text = Buffer.from(bytes.subarray(0, SHOWN)).toString('hex');
  return bytes.length > SHOWN ? `${text}… (${bytes.length} bytes)` : text;
}
