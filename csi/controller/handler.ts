import { messageOf } from '../../kube/mod.ts';
import { Code, RpcError } from '../../rpc/status.ts';
import type { Call, Deps } from './deps.ts';

type Work<Request, Answer> = (deps: Deps, request: Request, call: Call) => Promise<Answer> | Answer;

/** Makes calls of a CSI service of functions. A call fails with an RpcError and nothing else. */
export function handlerOf(deps: Deps) {
  return <Request, Answer>(name: string, work: Work<Request, Answer>) =>
    async (request: Request, context: Call): Promise<Answer> => {
      try {
        return await work(deps, request, context);
      } catch (error) {
        if (error instanceof RpcError) throw error;
        if (context.signal.aborted)
          throw new RpcError(Code.DEADLINE_EXCEEDED, `${name}: the caller cancelled the call, or its deadline passed`, { cause: error });
        // The API server does not answer, or this program has a fault. After UNAVAILABLE the caller tries again, and forgets nothing.
        deps.log.warn({ call: name, error }, 'call failed');
        throw new RpcError(Code.UNAVAILABLE, `${name}: ${messageOf(error)}`, { cause: error });
      }
    };
}
