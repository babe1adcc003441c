import { createHash } from 'node:crypto';

const LABEL = '[a-z0-9](?:[-a-z0-9]*[a-z0-9])?';
const RESOURCE_NAME = new RegExp(`^${LABEL}(?:\\.${LABEL})*$`);
const MAX_NAME = 253;

/** Whether a resource can have the name (RFC 1123 subdomain). */
export function isResourceName(name: string): boolean {
  return name.length <= MAX_NAME && RESOURCE_NAME.test(name);
}

/** The name of the AoEVolume for a name that the caller chose: the same if a resource can have it, else one derived from it that is unique. */
export function resourceName(name: string): string {
  if (isResourceName(name)) return name;
  const readable = name
    .toLowerCase()
    .replace(/[^a-z0-9]+/g, '-')
    .replace(/^-+|-+$/g, '')
    .slice(0, 40);
  return `${readable === '' ? 'volume' : readable}-${createHash('sha256').update(name).digest('hex').slice(0, 16)}`;
}
