export { Code, RpcError } from '../rpc/status.ts';

export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
