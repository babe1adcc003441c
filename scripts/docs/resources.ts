// The fields of our resources as tables, from the CRDs.
import { cell, code, table } from './markdown.ts';

/** The part of an OpenAPI schema that the CRDs use. */
export interface Schema {
  readonly description?: string;
  readonly type?: string;
  readonly format?: string;
  readonly enum?: readonly unknown[];
  readonly default?: unknown;
  readonly minimum?: number;
  readonly maximum?: number;
  readonly maxItems?: number;
  readonly properties?: Readonly<Record<string, Schema>>;
  readonly additionalProperties?: Schema;
  readonly items?: Schema;
  readonly required?: readonly string[];
  readonly 'x-kubernetes-validations'?: readonly { readonly rule: string; readonly message: string }[];
}

/** The part of a CustomResourceDefinition that a page is made of. */
export interface Definition {
  readonly spec: {
    readonly names: { readonly kind: string; readonly plural: string; readonly shortNames?: readonly string[] };
    readonly versions: readonly { readonly name: string; readonly schema: { readonly openAPIV3Schema: Schema } }[];
  };
}

interface Field {
  readonly path: string;
  readonly schema: Schema;
  readonly required: boolean;
}

/** Numbers that stand for "any" in a schema made from JavaScript's safe integers. */
const isLimit = (value: number | undefined): value is number => value !== undefined && Math.abs(value) < Number.MAX_SAFE_INTEGER;

/** All fields below a schema: `a`, `a.b`, `list[].c`. Conditions are the same everywhere, so their fields are left out. */
function fieldsOf(schema: Schema, prefix = ''): Field[] {
  return Object.entries(schema.properties ?? {}).flatMap(([name, each]) => {
    const path = `${prefix}${name}`;
    const own: Field = { path, schema: each, required: schema.required?.includes(name) ?? false };
    if (name === 'conditions') return [own];
    if (each.items?.properties) return [own, ...fieldsOf(each.items, `${path}[].`)];
    return [own, ...fieldsOf(each, `${path}.`)];
  });
}

function typeOf(schema: Schema): string {
  if (schema.enum) return schema.enum.map((value) => code(String(value))).join(', ');
  if (schema.type === 'array') return `list of ${schema.items?.type === 'object' ? 'objects' : `${schema.items?.type ?? 'value'}s`}`;
  if (schema.additionalProperties) return `map of ${schema.additionalProperties.type ?? 'value'}s`;
  return schema.format === 'date-time' ? 'time' : (schema.type ?? 'any');
}

function meaningOf({ path, schema, required }: Field): string {
  const rules = [...(schema['x-kubernetes-validations'] ?? []), ...(schema.items?.['x-kubernetes-validations'] ?? [])];
  const bounds =
    isLimit(schema.minimum) && isLimit(schema.maximum)
      ? `${schema.minimum} to ${schema.maximum}.`
      : schema.maxItems !== undefined
        ? `At most ${schema.maxItems}.`
        : '';
  return [
    path === 'conditions' ? 'See [Conditions and reasons](../conditions.md).' : cell(schema.description ?? ''),
    required ? 'Required.' : '',
    schema.default !== undefined && schema.type !== 'object' ? `Default: ${code(shown(schema.default))}.` : '',
    bounds,
    // Rules of an object as a whole are listed below the table.
    schema.type === 'object' ? '' : rules.map(({ message }) => cell(sentence(message))).join(' '),
  ]
    .filter((part) => part !== '')
    .join(' ');
}

const shown = (value: unknown): string => (typeof value === 'string' ? value : JSON.stringify(value));

function sentence(message: string): string {
  return `${message.charAt(0).toUpperCase()}${message.slice(1)}.`;
}

function rulesOf(schema: Schema): string[] {
  const inner = Object.values(schema.properties ?? {}).filter(({ type }) => type === 'object');
  return [...(schema['x-kubernetes-validations'] ?? []).map(({ message }) => message), ...inner.flatMap(rulesOf)];
}

function fieldTable(schema: Schema): string {
  const rows = fieldsOf(schema).map((field) => [code(field.path), typeOf(field.schema), meaningOf(field)]);
  return table(['Field', 'Type', 'Meaning'], rows);
}

/** One section of the page for each definition: what the kind is, its spec, what is refused, its status. */
export function resourcesPage(definitions: readonly Definition[]): string {
  return definitions
    .map(({ spec: { names, versions } }) => {
      const [version] = versions;
      if (!version) throw new Error(`${names.kind}: the definition has no version`);
      const schema = version.schema.openAPIV3Schema;
      const { spec, status } = schema.properties ?? {};
      const words = [names.plural, ...(names.shortNames ?? [])].map(code).join(', ');
      const rules = rulesOf({ ...schema, properties: spec ? { spec } : {} });
      return [
        `## ${names.kind}`,
        `${cell(schema.description ?? '')} \`aoe.dev/${version.name}\`, of the whole cluster. For \`kubectl\`: ${words}.`,
        ...(spec && Object.keys(spec.properties ?? {}).length > 0 ? [`### ${names.kind} spec`, fieldTable(spec)] : []),
        ...(rules.length > 0
          ? ['The API server refuses what breaks one of these rules:', rules.map((rule) => `- ${cell(rule)}`).join('\n')]
          : []),
        ...(status ? [`### ${names.kind} status`, 'Written by the programs.', fieldTable(status)] : []),
      ].join('\n\n');
    })
    .join('\n\n');
}
