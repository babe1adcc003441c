import { setTimeout as delay } from 'node:timers/promises';
import type { Kube, KubeObject, Log, ResourceType } from '../kube/mod.ts';

export const CUSTOM_RESOURCE_DEFINITIONS: ResourceType = {
  group: 'apiextensions.k8s.io',
  version: 'v1',
  plural: 'customresourcedefinitions',
  kind: 'CustomResourceDefinition',
  namespaced: false,
};
/** Owner of the fields, for server-side apply. */
const FIELD_MANAGER = 'aoe-csi-crds';
const LOOK_MS = 200;

/** The parts of an OpenAPI v3 schema that have schemas in them. */
export interface Schema {
  readonly properties?: Readonly<Record<string, Schema>>;
  readonly additionalProperties?: Schema | boolean;
  readonly items?: Schema;
}

export interface Definition extends KubeObject {
  spec: { versions: readonly { name: string; schema?: { openAPIV3Schema?: Schema } }[] };
  status?: { conditions?: readonly { type: string; status: string; message?: string }[] };
}

/**
 * Makes the CustomResourceDefinitions of the cluster what these are, and waits until the API server serves them. One that has fields
 * which the given one lacks is of a newer chart. It stays as it is: otherwise the API server would drop those fields from every
 * object that is written from then on. Repeating it changes nothing.
 * @throws KubeError
 * @throws Error when a definition is not served before the signal is aborted
 */
export async function upgradeDefinitions(
  kube: Kube,
  definitions: readonly Definition[],
  { log, signal }: { log: Log; signal: AbortSignal },
): Promise<void> {
  for (const definition of definitions) {
    const { name } = definition.metadata;
    const live = await kube.get<Definition>(CUSTOM_RESOURCE_DEFINITIONS, name, { signal });
    const lost = live ? lostFields(live, definition) : [];
    if (lost.length > 0) {
      const message =
        'the CustomResourceDefinition stays as it is: that of the cluster is of a newer chart, and has fields that this one lacks';
      log.warn({ name, fields: lost }, message);
      continue;
    }
    await kube.apply(CUSTOM_RESOURCE_DEFINITIONS, definition, { fieldManager: FIELD_MANAGER, force: true, signal });
    await established(kube, name, signal);
    log.info(
      { name },
      live ? 'the CustomResourceDefinition is that of this chart' : 'the CustomResourceDefinition was missing, and is made',
    );
  }
}

/** The fields of objects that the first definition knows and the second does not, such as `v1alpha1.spec.wipe`. */
export function lostFields(live: Definition, next: Definition): string[] {
  const nextSchemas = new Map(next.spec.versions.map(({ name, schema }) => [name, schema?.openAPIV3Schema]));
  return live.spec.versions.flatMap(({ name, schema }) => {
    const schemaOfNext = nextSchemas.get(name);
    return schemaOfNext ? lostIn(schema?.openAPIV3Schema ?? {}, schemaOfNext, name) : [name];
  });
}

function lostIn(live: Schema, next: Schema, path: string): string[] {
  const ofProperties = Object.entries(live.properties ?? {}).flatMap(([name, schema]) => {
    const field = `${path}.${name}`;
    const kept = next.properties && Object.hasOwn(next.properties, name) ? next.properties[name] : undefined;
    return kept ? lostIn(schema, kept, field) : [field];
  });
  const ofItems = live.items ? lostIn(live.items, next.items ?? {}, `${path}[]`) : [];
  const values = valuesOf(live);
  const ofValues = values ? lostIn(values, valuesOf(next) ?? {}, `${path}{}`) : [];
  return [...ofProperties, ...ofItems, ...ofValues];
}

/** The schema of the values of a map. */
function valuesOf({ additionalProperties }: Schema): Schema | undefined {
  return typeof additionalProperties === 'object' ? additionalProperties : undefined;
}

async function established(kube: Kube, name: string, signal: AbortSignal): Promise<void> {
  for (;;) {
    const { status } = (await kube.get<Definition>(CUSTOM_RESOURCE_DEFINITIONS, name, { signal })) ?? {};
    if (status?.conditions?.some((condition) => condition.type === 'Established' && condition.status === 'True')) return;
    const refused = status?.conditions?.find((condition) => condition.type === 'NamesAccepted' && condition.status === 'False');
    if (refused) throw new Error(`CustomResourceDefinition ${name} cannot be served: ${refused.message}`);
    await delay(LOOK_MS, undefined, { signal });
  }
}
