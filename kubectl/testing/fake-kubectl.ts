import { pathOf } from '../../kube/client/types.ts';
import { type Ended, Kubectl, type RunOptions } from '../cluster/kubectl.ts';
import type { ResourceType } from '../cluster/objects.ts';

interface Named {
  readonly metadata: { readonly name: string; readonly namespace?: string | undefined };
}

/** Stands for the program kubectl and a cluster: answers reads from objects, and everything else from a script. */
export class FakeKubectl {
  /** Command lines that were not reads. */
  readonly commands: string[][] = [];
  /** Plurals of what the person may not list or get. */
  readonly forbidden = new Set<string>();
  readonly #objects = new Map<string, Named[]>();
  readonly #types = new Map<string, ResourceType>();
  /** Answers what is no read: the output, or an Ended for a failure. */
  answer: (args: readonly string[], options: RunOptions) => string | Ended = () => '';

  readonly kubectl = new Kubectl({}, (args, options) => Promise.resolve(this.#run(args, options)));

  /** Adds objects, or puts them in the place of those of the same name. */
  put(type: ResourceType, ...objects: readonly object[]): this {
    const keyOf = ({ metadata: { namespace = '', name } }: Named) => `${namespace}/${name}`;
    const all = new Map([...(this.#objects.get(pathOf(type)) ?? []), ...(objects as Named[])].map((each) => [keyOf(each), each]));
    this.#types.set(pathOf(type), type);
    this.#objects.set(pathOf(type), [...all.values()]);
    return this;
  }

  delete(type: ResourceType, name: string): this {
    const rest = (this.#objects.get(pathOf(type)) ?? []).filter(({ metadata }) => metadata.name !== name);
    this.#objects.set(pathOf(type), rest);
    return this;
  }

  #run(args: readonly string[], options: RunOptions): Ended {
    if (args[0] !== 'get' || args[1] !== '--raw') {
      this.commands.push([...args]);
      const answer = this.answer(args, options);
      return typeof answer === 'string' ? { code: 0, stdout: answer, stderr: '' } : answer;
    }
    const url = new URL(args[2] ?? '', 'http://fake');
    const [, group, namespace, plural = '', name] =
      /^\/(?:api\/v1|apis\/([^/]+)\/[^/]+)(?:\/namespaces\/([^/]+))?\/([^/]+)(?:\/([^/]+))?$/.exec(url.pathname) ?? [];
    const verb = name === undefined ? 'list' : 'get';
    if (this.forbidden.has(plural)) return refused({ verb, plural, group: group ?? '', namespace });
    const [path] = [...this.#types].find(([, type]) => type.plural === plural && type.group === (group ?? '')) ?? [];
    const all = (this.#objects.get(path ?? '') ?? []).filter(({ metadata }) => namespace === undefined || metadata.namespace === namespace);
    if (name === undefined) {
      const field = /^involvedObject\.name=(.*)$/.exec(url.searchParams.get('fieldSelector') ?? '')?.[1];
      const items = all.filter(
        (each) => field === undefined || (each as { involvedObject?: { name?: string } }).involvedObject?.name === field,
      );
      return json({ items });
    }
    const object = all.find(({ metadata }) => metadata.name === name);
    return object ? json(object) : { code: 1, stdout: '', stderr: `Error from server (NotFound): ${plural} "${name}" not found\n` };
  }
}

function json(value: object): Ended {
  return { code: 0, stdout: JSON.stringify(value), stderr: '' };
}

/** What kubectl writes when the API server misses a right. */
export function refused({
  verb,
  plural,
  group,
  namespace,
}: {
  verb: string;
  plural: string;
  group: string;
  namespace?: string | undefined;
}): Ended {
  const scope = namespace === undefined ? 'at the cluster scope' : `in the namespace "${namespace}"`;
  const name = group === '' ? plural : `${plural}.${group}`;
  const stderr = `Error from server (Forbidden): ${name} is forbidden: User "eve" cannot ${verb} resource "${plural}" in API group "${group}" ${scope}\n`;
  return { code: 1, stdout: '', stderr };
}
