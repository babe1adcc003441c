import { dirname, join, relative } from 'node:path';

export interface Links {
  /** Path on the site of each page, by its path in the repository. A folder stands for the page about its files. */
  readonly pages: ReadonlyMap<string, string>;
  /** Address of the files of this version in the repository, such as `https://github.com/OWNER/NAME/blob/v1.0.0`. */
  readonly repository: string | undefined;
}

/**
 * The text of a page with links that fit the site: those to other pages lead there. Those to other files of the repository lead to
 * their place on the forge, or are plain text when that is not known.
 * @param from path of the page in the repository
 */
export function withSiteLinks(text: string, from: string, { pages, repository }: Links): string {
  const here = pages.get(from);
  if (here === undefined) throw new Error(`${from} is no page of the site`);
  return outsideCode(text, (part) =>
    part.replace(/(!?)\[((?:[^\][]|\[[^\]]*\])*)\]\(([^)\s]+)\)/g, (whole, picture: string, label: string, link: string) => {
      if (/^[a-z]+:|^#/.test(link)) return whole;
      const [file = '', anchor] = link.split('#');
      const target = join(dirname(from), file).replace(/\/$/, '');
      const page = pages.get(target);
      const hash = anchor ? `#${anchor}` : '';
      if (page !== undefined) return `${picture}[${label}](${relative(dirname(here), page) || page}${page.includes('#') ? '' : hash})`;
      return repository ? `${picture}[${label}](${repository}/${target}${hash})` : label;
    }),
  );
}

/** Changes a Markdown text, but not its blocks of code. */
function outsideCode(text: string, change: (part: string) => string): string {
  return text
    .split(/(^ *```[\s\S]*?^ *```$)/m)
    .map((part, index) => (index % 2 === 1 ? part : change(part)))
    .join('');
}
