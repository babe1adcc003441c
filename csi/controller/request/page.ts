import type { KubeObject } from '../../../kube/mod.ts';
import { Code, RpcError } from '../../../rpc/status.ts';
import { isResourceName } from './resource-name.ts';

/** A token is this word and the name after which its page begins: it stays valid when that object is deleted. */
const TOKEN = 'after/';

/**
 * A page of objects in the order of their names.
 * @throws RpcError INVALID_ARGUMENT for a negative length, ABORTED for a token that is not ours
 */
export function pageOf<T extends KubeObject>(
  objects: readonly T[],
  { maxEntries, startingToken }: { maxEntries?: number | null | undefined; startingToken?: string | null | undefined },
): { page: T[]; nextToken: string } {
  const most = maxEntries ?? 0;
  if (most < 0) throw new RpcError(Code.INVALID_ARGUMENT, 'max_entries is negative');
  const token = startingToken ?? '';
  const after = token.slice(TOKEN.length);
  if (token !== '' && (!token.startsWith(TOKEN) || !isResourceName(after)))
    throw new RpcError(Code.ABORTED, `starting_token "${token}" is not one of ours: list again from the start`);
  const rest = objects.filter(({ metadata }) => metadata.name > after).sort((a, b) => (a.metadata.name < b.metadata.name ? -1 : 1));
  const page = most > 0 ? rest.slice(0, most) : rest;
  const last = page.length < rest.length ? page.at(-1) : undefined;
  return { page, nextToken: last ? `${TOKEN}${last.metadata.name}` : '' };
}
