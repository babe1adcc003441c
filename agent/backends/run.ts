/** How backends start programs: run/exec in life, a script in tests. Rejects with an error that has `code` and `stderr`. */
export type Run = (
  command: string,
  args: string[],
  options: { timeoutMs: number; signal?: AbortSignal },
) => Promise<{ stdout: string; stderr: string }>;

/** What the program wrote to its error output, for a thrown value of `Run`. */
export function stderrOf(error: unknown): string {
  return typeof error === 'object' && error !== null && 'stderr' in error && typeof error.stderr === 'string' ? error.stderr : '';
}
