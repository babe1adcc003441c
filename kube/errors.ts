/** What the API server answered instead of doing what was asked: `code` is the HTTP status, `reason` that of its Status object. */
export class KubeError extends Error {
  readonly code: number;
  readonly reason: string;

  constructor(code: number, reason: string, message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = 'KubeError';
    this.code = code;
    this.reason = reason;
  }
}

/** Thrown by a reconciler when trying again is of no use until something changes. */
export class TerminalError extends Error {
  override readonly name = 'TerminalError';
}

/** A wait that reached its limit. */
export class TimeoutError extends Error {
  override readonly name = 'TimeoutError';
}

/** Whether the API server says that there is no such object. */
export function isNotFound(error: unknown): boolean {
  return error instanceof KubeError && error.code === 404;
}

/** Whether the object was changed meanwhile, or exists already. */
export function isConflict(error: unknown): boolean {
  return error instanceof KubeError && error.code === 409;
}
