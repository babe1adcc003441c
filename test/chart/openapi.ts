// Checks manifests against the OpenAPI definitions of a version of Kubernetes, as strictly as `kubectl --validate=strict`: a field that
// is unknown, has another type, or is missing.
import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Manifest } from './helm.ts';

interface Schema {
  readonly $ref?: string;
  readonly type?: string;
  readonly format?: string;
  readonly enum?: readonly unknown[];
  readonly properties?: Readonly<Record<string, Schema>>;
  readonly required?: readonly string[];
  readonly additionalProperties?: Schema | boolean;
  readonly items?: Schema;
  readonly 'x-kubernetes-int-or-string'?: boolean;
  readonly 'x-kubernetes-preserve-unknown-fields'?: boolean;
  readonly 'x-kubernetes-group-version-kind'?: readonly { readonly group: string; readonly version: string; readonly kind: string }[];
}

/** Definitions of a version of Kubernetes, or of our own kinds: a schema for each `apiVersion/kind`. */
export class OpenAPI {
  readonly #definitions: Readonly<Record<string, Schema>>;
  readonly #kinds = new Map<string, Schema>();

  constructor(definitions: Readonly<Record<string, Schema>>) {
    this.#definitions = definitions;
    for (const schema of Object.values(definitions))
      for (const { group, version, kind } of schema['x-kubernetes-group-version-kind'] ?? [])
        this.#kinds.set(`${group ? `${group}/` : ''}${version}/${kind}`, schema);
  }

  /**
   * The definitions of a release of Kubernetes, from its Go module, which is fetched when this machine does not have it.
   * @param version without "v": 1.37.2
   */
  static ofKubernetes(version: string): OpenAPI {
    const { Dir } = JSON.parse(
      execFileSync('go', ['mod', 'download', '-json', `k8s.io/kubernetes@v${version}`], { encoding: 'utf8', timeout: 300_000 }),
    ) as { Dir: string };
    const path = join(Dir, 'api/openapi-spec/swagger.json');
    if (!existsSync(path)) throw new Error(`${path} is not there`);
    return new OpenAPI(JSON.parse(readFileSync(path, 'utf8')).definitions);
  }

  /** Adds the kinds of CustomResourceDefinitions. */
  withCRDs(crds: readonly Manifest[]): this {
    for (const { spec } of crds)
      for (const { name, schema } of spec.versions) {
        const { properties } = schema.openAPIV3Schema;
        // In a CRD the metadata has no fields of its own; those of Kubernetes are checked with Kubernetes' kinds.
        this.#kinds.set(`${spec.group}/${name}/${spec.names.kind}`, {
          ...schema.openAPIV3Schema,
          properties: { ...properties, metadata: { type: 'object', 'x-kubernetes-preserve-unknown-fields': true } },
        });
      }
    return this;
  }

  /** Whether the kind of a manifest is known here. */
  knows({ apiVersion, kind }: Manifest): boolean {
    return this.#kinds.has(`${apiVersion}/${kind}`);
  }

  /** What is wrong with a manifest, each with the path of the field; empty when nothing is. */
  problems(manifest: Manifest): string[] {
    const { apiVersion, kind, metadata } = manifest;
    const schema = this.#kinds.get(`${apiVersion}/${kind}`);
    const name = `${kind} ${metadata?.name}`;
    return schema ? this.#check(manifest, schema, name) : [`${name}: there is no ${apiVersion} ${kind}`];
  }

  #check(value: unknown, given: Schema, path: string): string[] {
    const schema = this.#resolve(given);
    // Absent and null are the same to the API server.
    if (value === null) return [];
    if (schema['x-kubernetes-int-or-string'] || schema.format === 'int-or-string')
      return typeof value === 'string' || Number.isInteger(value) ? [] : [`${path}: is not a number or a string`];
    if (schema.enum && !schema.enum.includes(value)) return [`${path}: ${JSON.stringify(value)} is not one of ${schema.enum.join(', ')}`];
    switch (schema.type) {
      case 'array':
        if (!Array.isArray(value)) return [`${path}: is not a list`];
        return value.flatMap((item, index) => this.#check(item, schema.items ?? {}, `${path}[${index}]`));
      case 'object':
        return this.#checkObject(value, schema, path);
      case 'integer':
        return Number.isInteger(value) ? [] : [`${path}: is not a whole number`];
      case 'number':
      case 'boolean':
      case 'string':
        return typeof value === schema.type ? [] : [`${path}: is not a ${schema.type}`];
      default:
        // No type: anything, as in the values of patches; or an object whose fields are listed without saying that it is one.
        return schema.properties ? this.#checkObject(value, schema, path) : [];
    }
  }

  #checkObject(value: unknown, schema: Schema, path: string): string[] {
    if (typeof value !== 'object' || value === null || Array.isArray(value)) return [`${path}: is not an object`];
    const missing = (schema.required ?? []).filter((name) => !(name in value)).map((name) => `${path}.${name}: is missing`);
    const fields = Object.entries(value).flatMap(([name, each]) => {
      const known = schema.properties?.[name];
      if (known) return this.#check(each, known, `${path}.${name}`);
      if (typeof schema.additionalProperties === 'object') return this.#check(each, schema.additionalProperties, `${path}.${name}`);
      const anything = schema['x-kubernetes-preserve-unknown-fields'] || schema.additionalProperties === true || !schema.properties;
      return anything ? [] : [`${path}.${name}: there is no such field`];
    });
    return [...missing, ...fields];
  }

  #resolve(schema: Schema): Schema {
    if (!schema.$ref) return schema;
    const found = this.#definitions[schema.$ref.replace('#/definitions/', '')];
    if (!found) throw new Error(`${schema.$ref} is not there`);
    return found;
  }
}
