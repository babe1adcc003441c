import { withSiteLinks } from './links.ts';

const pages = new Map([
  ['docs/use.md', 'use.md'],
  ['docs/adr/0001-a.md', 'adr/0001-a.md'],
  ['README.md', 'index.md'],
  ['deploy/examples/snapshot.yaml', 'examples.md#snapshotyaml'],
]);

describe('links on the site', () => {
  const site = (text: string, from: string, repository?: string) => withSiteLinks(text, from, { pages, repository });

  it('lead from page to page, wherever the pages are', () => {
    expect(site('[a](../use.md#claims) [b](../../README.md)', 'docs/adr/0001-a.md')).toBe('[a](../use.md#claims) [b](../index.md)');
    expect(site('[`a`](docs/use.md), [b](docs/adr/0001-a.md)', 'README.md')).toBe('[`a`](use.md), [b](adr/0001-a.md)');
    expect(site('([example](../deploy/examples/snapshot.yaml))', 'docs/use.md')).toBe('([example](examples.md#snapshotyaml))');
  });

  it('lead to the repository where that is known, and are text where it is not', () => {
    expect(site('[`x.ts`](../agent/x.ts)', 'docs/use.md', 'https://forge.example/v1')).toBe(
      '[`x.ts`](https://forge.example/v1/agent/x.ts)',
    );
    expect(site('[`x.ts`](../agent/x.ts)', 'docs/use.md')).toBe('`x.ts`');
  });

  it('stay as they are in code, to other servers, and within a page', () => {
    const text = '[a](https://example.org/a.md) [b](#b)\n```\n[c](../agent/x.ts)\n```\n';
    expect(site(text, 'docs/use.md')).toBe(text);
  });

  it('are refused on what is no page', () => expect(() => site('', 'docs/no.md')).toThrow(/no page of the site/));
});
