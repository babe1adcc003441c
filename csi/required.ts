import { Code, RpcError } from '../rpc/status.ts';

/**
 * The value of a field that a request must have.
 * @throws RpcError INVALID_ARGUMENT when it is missing or empty
 */
export function required(value: string | null | undefined, field: string): string {
  if (!value) throw new RpcError(Code.INVALID_ARGUMENT, `${field} is missing`);
  return value;
}
