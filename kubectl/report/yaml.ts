/** What YAML 1.1 or 1.2 could take for something else than this text. */
const AMBIGUOUS = /^(?:|~|null|true|false|yes|no|on|off|y|n|[-+]?[.\d].*|0[xo].*|[-?:,[\]{}#&*!|>'"%@`\s=].*)$/i;

/** A text as YAML: plain where nobody can take it for anything else, else in the quotes of JSON, which are YAML's, too. */
function scalar(value: unknown): string {
  if (typeof value !== 'string') return JSON.stringify(value ?? null);
  const isPlain = !AMBIGUOUS.test(value) && /^[\x21-\x7e](?:[\x20-\x7e]*[\x21-\x7e])?$/.test(value) && !/: |:$| #/.test(value);
  return isPlain ? value : JSON.stringify(value);
}

/** Values of JSON as YAML, in block style. Fields that are undefined are left out. */
export function toYaml(value: unknown): string {
  return `${lines(value).join('\n')}\n`;
}

function lines(value: unknown): string[] {
  if (Array.isArray(value)) {
    if (value.length === 0) return ['[]'];
    return value.flatMap((item) => lines(item).map((line, index) => `${index === 0 ? '- ' : '  '}${line}`));
  }
  if (typeof value !== 'object' || value === null) return [scalar(value)];
  const fields = Object.entries(value).filter(([, field]) => field !== undefined);
  if (fields.length === 0) return ['{}'];
  return fields.flatMap(([key, field]) => {
    const inner = lines(field);
    return isNested(field) ? [`${scalar(key)}:`, ...inner.map((line) => `  ${line}`)] : [`${scalar(key)}: ${inner[0]}`];
  });
}

function isNested(value: unknown): boolean {
  if (Array.isArray(value)) return value.length > 0;
  return typeof value === 'object' && value !== null && Object.values(value).some((each) => each !== undefined);
}
