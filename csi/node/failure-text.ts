import { messageOf } from '../../kube/mod.ts';
import { stderrOf } from '../../run/exec.ts';

/** Why a program failed, on one line: what it wrote to its error output, else the error's message. */
export function failureText(error: unknown): string {
  const written = stderrOf(error).trim();
  return (written === '' ? messageOf(error).trim() : written).replaceAll(/\s*\n\s*/g, '; ');
}
