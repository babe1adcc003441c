/** The API server refused or failed a request, or could not be asked. */
export class KubeError extends Error {
  /**
   * HTTP status. A server that cannot be reached counts as 503, one that does not answer in time as 504: as with those,
   * a write may or may not have happened.
   */
  readonly code: number;
  /** `Status.reason`, such as `Conflict` or `NotFound`; `Unreachable` and `NoAnswer` are ours. */
  readonly reason: string;
  /** `Status.details`. */
  readonly details: { causes?: { reason?: string }[] } | undefined;

  constructor(code: number, reason: string, message: string, options?: ErrorOptions & { details?: KubeError['details'] }) {
    super(message, options);
    this.name = 'KubeError';
    this.code = code;
    this.reason = reason;
    this.details = options?.details;
  }
}

/** Thrown by a reconcile function: trying again is of no use until something changes. */
export class TerminalError extends Error {
  override readonly name = 'TerminalError';
}

/** Something awaited did not come within its limit. */
export class TimeoutError extends Error {
  override readonly name = 'TimeoutError';
}

/** The lease went to somebody else, or could not be renewed in time: the program must stop acting as leader at once. */
export class LeaseLostError extends Error {
  override readonly name = 'LeaseLostError';
}

/** Whether the API server says that there is no such object. */
export function isNotFound(error: unknown): boolean {
  return error instanceof KubeError && error.code === 404;
}

/** Whether the object was changed meanwhile, or exists already. */
export function isConflict(error: unknown): boolean {
  return error instanceof KubeError && error.code === 409;
}

export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
