import { isDeepStrictEqual } from 'node:util';
import type { KubeObject } from '../client/types.ts';
import type { Change } from '../informer/informer.ts';

/** Whether a change is worth a reconcile: for `when` of {@link Controller.watch}. All predicates accept new and deleted objects. */
export type Predicate<T> = (change: Change<T>) => boolean;

/**
 * Accepts changes of the specification, and none of metadata or status.
 * @example controller.watch(pools, { when: generationChanged, keys: ({ object }) => [object.metadata.name] })
 */
export const generationChanged: Predicate<KubeObject> = fieldChanged(({ metadata }) => metadata.generation);

/** Accepts changes of the labels. */
export const labelsChanged: Predicate<KubeObject> = fieldChanged(({ metadata }) => metadata.labels);

/**
 * Accepts changes of one part of the object, compared deeply.
 * @example fieldChanged((node: AoENode) => node.status?.interfaces)
 */
export function fieldChanged<T extends KubeObject>(get: (object: T) => unknown): Predicate<T> {
  return ({ type, object, previous }) => type === 'deleted' || !previous || !isDeepStrictEqual(get(previous), get(object));
}
