/** What is different in each release. */
export interface KrewRelease {
  /** Without the "v". */
  readonly version: string;
  /** Of GitHub: OWNER/NAME. */
  readonly repository: string;
  /** Where the archive of the plugin can be downloaded. */
  readonly url: string;
  /** Of that archive. */
  readonly sha256: string;
}

/**
 * Fills in the manifest for krew.
 * @throws Error when the template has a blank that is not known
 */
export function krewManifest(template: string, { version, repository, url, sha256 }: KrewRelease): string {
  const values: Readonly<Record<string, string>> = { VERSION: version, REPOSITORY: repository, URL: url, SHA256: sha256 };
  const [, ...lines] = template.split('\n');
  return lines.join('\n').replace(/\{\{(\w+)\}\}/g, (blank, name: string) => {
    const value = values[name];
    if (value === undefined) throw new Error(`the krew manifest has ${blank}, which nothing fills in`);
    return value;
  });
}
