import { RpcError } from '../../rpc/mod.ts';

const ATTEMPTS = 3;

/**
 * What a call comes to that the program itself ends. It answers half a second before the caller gives up, which may be too late on a machine
 * that stands still: then it is called again.
 */
export async function answered<T>(call: () => Promise<T>): Promise<T> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await call();
    } catch (error) {
      // The words of gRPC, not of the program.
      if (attempt === ATTEMPTS || !(error instanceof RpcError) || !error.message.startsWith('Deadline exceeded')) throw error;
    }
  }
}
