import { messageOf } from '../error.ts';

/** Why a program failed, on one line: what it wrote to stderr, else the error's message. */
export function failureText(error: unknown): string {
  const stderr = (error as { stderr?: unknown }).stderr;
  const text = typeof stderr === 'string' && stderr.trim() !== '' ? stderr : messageOf(error);
  return text.trim().replaceAll(/\s*\n\s*/g, '; ');
}
