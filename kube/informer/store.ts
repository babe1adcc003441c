/** Cached objects by name, as an informer last saw them. Shared: change a copy, never what it returns. */
export interface Store<T> {
  get(name: string): T | undefined;
  list(): T[];
}
