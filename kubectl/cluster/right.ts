/** What a person must be allowed to do: a rule of RBAC has these words. */
export interface Right {
  readonly verb: string;
  /** Plural, with its subresource: `pods/exec`. */
  readonly resource: string;
  /** API group; empty for the core. */
  readonly group: string;
  /** Absent for the whole cluster. */
  readonly namespace?: string | undefined;
}

/** The API server's words for a right that is missing (k8s.io/apiserver/pkg/endpoints/handlers/responsewriters/errors.go). */
const FORBIDDEN = /cannot ([a-z]+) resource "([^"]+)"(?: in API group "([^"]*)")?(?: in the namespace "([^"]+)"| at the cluster scope)?/;

/** The right that the API server missed, from what kubectl wrote to its error output; undefined when it was another failure. */
export function refusedRight(stderr: string): Right | undefined {
  const [, verb, resource, group = '', namespace] = FORBIDDEN.exec(stderr) ?? [];
  if (verb === undefined || resource === undefined) return undefined;
  return { verb, resource, group, ...(namespace === undefined ? {} : { namespace }) };
}

/** @example `list aoevolumes.aoe.dev`, `create pods/exec in namespace aoe-csi` */
export function rightText({ verb, resource, group, namespace }: Right): string {
  const [plural, subresource] = resource.split('/');
  const name = `${plural}${group === '' ? '' : `.${group}`}${subresource === undefined ? '' : `/${subresource}`}`;
  return `${verb} ${name}${namespace === undefined ? '' : ` in namespace ${namespace}`}`;
}
