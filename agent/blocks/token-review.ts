import type { ObjectMeta } from '../../api/meta.ts';

/** A question to the API server whose token this is (authentication.k8s.io/v1). It is answered, not stored. */
export interface TokenReview {
  apiVersion?: string;
  kind?: string;
  metadata: ObjectMeta;
  spec: { token: string; audiences: string[] };
  status?: { authenticated?: boolean; user?: { username?: string }; audiences?: string[]; error?: string };
}

/** Audience of the tokens that agents accept: a token for the API server is of no use to them, nor theirs to anybody else. */
export const AGENT_AUDIENCE = 'aoe.dev/agent';
