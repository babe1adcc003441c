/** The API server refused a request, failed to process it, or could not be reached. */
export class KubeError extends Error {
  /**
   * HTTP status. A server that cannot be reached counts as 503, and one that does not answer in time as 504: as with those codes of
   * the server, a write may have happened or not.
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

/** What was awaited did not happen within the time limit. */
export class TimeoutError extends Error {
  override readonly name = 'TimeoutError';
}

/** Another process took the lease, or it could not be renewed in time: the program must stop acting as leader at once. */
export class LeaseLostError extends Error {
  override readonly name = 'LeaseLostError';
}

/** Whether the API server answered that the object does not exist (404). */
export function isNotFound(error: unknown): boolean {
  return error instanceof KubeError && error.code === 404;
}

/** Whether the object has changed since it was read, has another UID, or exists already (409). */
export function isConflict(error: unknown): boolean {
  return error instanceof KubeError && error.code === 409;
}

/** Whether the object breaks a rule of its type (400, 422): the same request would be refused again. */
export function isInvalid(error: unknown): boolean {
  return error instanceof KubeError && (error.code === 400 || error.code === 422);
}

/** The message of whatever was thrown. */
export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
