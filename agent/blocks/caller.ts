import { TOKEN_REVIEWS } from '../../api/resources.ts';
import { type Kube, messageOf } from '../../kube/mod.ts';
import { Code, RpcError } from '../../rpc/mod.ts';
import { AGENT_AUDIENCE, type TokenReview } from './token-review.ts';

/** Reviews at a time: anybody on the network can send a token, and each costs the API server a request. */
const REVIEWS_AT_ONCE = 8;
const REVIEW_MS = 10_000;

export interface CallersOptions {
  kube: Pick<Kube, 'create'>;
  /** The one user that is admitted, such as system:serviceaccount:NAMESPACE:NAME. */
  user: string;
}

/** Admits one user, by a token that the API server knows. */
export class Callers {
  readonly #options: CallersOptions;
  #reviews = 0;

  constructor(options: CallersOptions) {
    this.#options = options;
  }

  /** @throws RpcError UNAUTHENTICATED, PERMISSION_DENIED; RESOURCE_EXHAUSTED, UNAVAILABLE when it could not be found out */
  async check(token: string | undefined, signal: AbortSignal): Promise<void> {
    if (!token) throw new RpcError(Code.UNAUTHENTICATED, `the call has no token for audience ${AGENT_AUDIENCE}`);
    if (this.#reviews >= REVIEWS_AT_ONCE) throw new RpcError(Code.RESOURCE_EXHAUSTED, 'too many tokens are being checked');
    this.#reviews++;
    try {
      const { status } = await this.#review(token, signal);
      // The API server checks the audience, unless it is one that does not know audiences: then it answers with none of them.
      const isValid = status?.authenticated === true && status.audiences?.includes(AGENT_AUDIENCE);
      if (!isValid)
        throw new RpcError(
          Code.UNAUTHENTICATED,
          `the token is not valid for audience ${AGENT_AUDIENCE}: ${status?.error ?? 'it was refused'}`,
        );
      const { user } = this.#options;
      const name = status?.user?.username ?? 'a user without name';
      if (name !== user) throw new RpcError(Code.PERMISSION_DENIED, `${name} may not read which blocks snapshots have; ${user} may`);
    } finally {
      this.#reviews--;
    }
  }

  async #review(token: string, signal: AbortSignal): Promise<TokenReview> {
    const review: TokenReview = { metadata: { name: '' }, spec: { token, audiences: [AGENT_AUDIENCE] } };
    try {
      return await this.#options.kube.create(TOKEN_REVIEWS, review, { signal, timeoutMs: REVIEW_MS });
    } catch (error) {
      throw new RpcError(Code.UNAVAILABLE, `the API server did not check the token: ${messageOf(error)}`, { cause: error });
    }
  }
}
