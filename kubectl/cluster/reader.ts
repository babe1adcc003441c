import { pathOf } from '../../kube/client/types.ts';
import { type Kubectl, KubectlError } from './kubectl.ts';
import type { ResourceType } from './objects.ts';
import { type Right, rightText } from './right.ts';

const READ_MS = 60_000;
/** Objects of one answer. A page is one start of kubectl, which takes longer than the API server's work. */
const PAGE = 1000;

export interface Selection {
  readonly namespace?: string | undefined;
  readonly labelSelector?: string | undefined;
  readonly fieldSelector?: string | undefined;
}

/** One object that was asked for. */
export interface Found<T> {
  /** Absent when there is none, or when it could not be read. */
  readonly object?: T | undefined;
  /** The person may not read it. */
  readonly isHidden: boolean;
}

interface Page<T> {
  readonly items?: T[];
  readonly metadata?: { readonly continue?: string };
}

/**
 * Reads the cluster with the rights of the person. What the person may not read is noted in {@link notSeen}, and the rest is still
 * read.
 */
export class Reader {
  readonly #kubectl: Pick<Kubectl, 'run'>;
  readonly #refused = new Map<string, Right>();

  constructor(kubectl: Pick<Kubectl, 'run'>) {
    this.#kubectl = kubectl;
  }

  /** The rights that were missing so far, as sentences. */
  get notSeen(): string[] {
    return [...this.#refused.keys()].toSorted().map((right) => `you may not ${right}`);
  }

  /**
   * All objects of a type.
   * @returns undefined when the person may not list them
   * @throws KubectlError for any other failure
   */
  async list<T>(type: ResourceType, { namespace, labelSelector, fieldSelector }: Selection = {}): Promise<T[] | undefined> {
    const path = pathOf(type, { namespace });
    const query = { labelSelector, fieldSelector };
    return this.orNote(async () => {
      try {
        return await this.#pages<T>(path, { ...query, limit: PAGE });
      } catch (error) {
        // The list was changed too much between two pages.
        if (!(error instanceof KubectlError) || error.reason !== 'Expired') throw error;
        return this.#pages<T>(path, query);
      }
    });
  }

  /** @throws KubectlError for any failure but a missing right and a missing object */
  async get<T>(type: ResourceType, name: string, namespace?: string): Promise<Found<T>> {
    const path = pathOf(type, { namespace, name });
    try {
      const object = await this.orNote(() => this.#raw<T>(path));
      return { object, isHidden: object === undefined };
    } catch (error) {
      if (error instanceof KubectlError && error.reason === 'NotFound') return { isHidden: false };
      throw error;
    }
  }

  /** Does something that needs a right. Undefined, and a note, when it is missing. */
  async orNote<T>(act: () => Promise<T>): Promise<T | undefined> {
    try {
      return await act();
    } catch (error) {
      if (!(error instanceof KubectlError) || !error.right) throw error;
      this.#refused.set(rightText(error.right), error.right);
      return undefined;
    }
  }

  async #pages<T>(path: string, query: Readonly<Record<string, string | number | undefined>>): Promise<T[]> {
    const items: T[] = [];
    for (let next: string | undefined; ; ) {
      const page: Page<T> = await this.#raw(path, { ...query, continue: next });
      // One by one: a call takes about 100000 arguments, and a list without pages can be longer.
      for (const item of page.items ?? []) items.push(lean(item));
      next = page.metadata?.continue || undefined;
      if (next === undefined) return items;
    }
  }

  async #raw<T>(path: string, query: Readonly<Record<string, string | number | undefined>> = {}): Promise<T> {
    const given = new URLSearchParams();
    for (const [key, value] of Object.entries(query)) if (value !== undefined) given.set(key, String(value));
    const url = given.size === 0 ? path : `${path}?${given.toString()}`;
    return lean(JSON.parse(await this.#kubectl.run(['get', '--raw', url], { timeoutMs: READ_MS })) as T);
  }
}

/** Without managedFields, which are most of an object's size. */
function lean<T>(object: T): T {
  const { metadata } = object as { metadata?: { managedFields?: unknown } };
  if (metadata) delete metadata.managedFields;
  return object;
}
