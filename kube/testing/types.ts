import type { ResourceType } from '../client/types.ts';

/** A cluster-scoped type with a status, for tests. */
export const WIDGETS: ResourceType = { group: 'example.com', version: 'v1', plural: 'widgets', kind: 'Widget', namespaced: false };
