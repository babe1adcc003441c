// The documentation in a browser, as a reader sees it. "make docs" has built it.
import { existsSync, globSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { type Browser, chromium, type Page } from 'playwright-core';
import { addVersion } from '../../scripts/docs/versions.ts';
import { ROOT } from '../docs/pages.ts';
import { serveFolder } from './server.ts';

const SITE = join(ROOT, 'dist/docs/site');
/** Width of a common telephone, in CSS pixels. */
const TELEPHONE = { width: 390, height: 844 };
const DESKTOP = { width: 1280, height: 900 };
const WAIT_MS = 60_000;

/** Gives the width of the page, or of its widest table if that is more: a table must be readable without moving it sideways. */
const WIDTH = `Math.max(document.documentElement.scrollWidth, ...[...document.querySelectorAll('article table')].map((each) => each.scrollWidth))`;

/** Gives the paragraphs in which Markdown was not understood: a list, a table or a block of code that is shown as text. */
const NOT_UNDERSTOOD = String.raw`[...document.querySelectorAll('article p')].map((each) => {
  const copy = each.cloneNode(true);
  for (const code of copy.querySelectorAll('code')) code.remove();
  return copy.textContent;
}).filter((text) => /^\s*(- |\d+\. |\|)|\x60{3}/m.test(text))`;

let folder: string;
let server: Awaited<ReturnType<typeof serveFolder>>;
let browser: Browser;
/** Address of the newest version. */
let latest: string;

beforeAll(async () => {
  if (!existsSync(join(SITE, 'index.html'))) throw new Error(`${SITE} is not there: "make docs" builds it`);
  folder = mkdtempSync(join(tmpdir(), 'aoe-csi-site-'));
  // As a server has it after two releases.
  for (const version of ['v0.0.1', 'v0.1.0']) addVersion(folder, SITE, version);
  server = await serveFolder(folder);
  latest = `${server.url}/latest/`;
  browser = await chromium.launch({ executablePath: '/usr/bin/chromium', args: ['--no-sandbox', '--disable-gpu'], timeout: 120_000 });
});
afterAll(async () => {
  await browser?.close();
  server?.close();
  if (folder) rmSync(folder, { recursive: true });
});

/** Opens pages one after the other in one tab, and collects what goes wrong: errors, failed requests, requests to other servers. */
async function tab(viewport: typeof TELEPHONE): Promise<{ page: Page; wrong: string[]; close: () => Promise<void> }> {
  const context = await browser.newContext({ viewport });
  const page = await context.newPage();
  page.setDefaultTimeout(WAIT_MS);
  const wrong: string[] = [];
  page.on('console', (message) => {
    if (message.type() === 'error') wrong.push(`${page.url()}: console: ${message.text()}`);
  });
  page.on('pageerror', (error) => wrong.push(`${page.url()}: ${error.message}`));
  page.on('response', (response) => {
    if (response.status() >= 400) wrong.push(`${page.url()}: ${response.status()} ${response.url()}`);
  });
  page.on('request', (request) => {
    if (!/^(data|blob):/.test(request.url()) && !request.url().startsWith(server.url)) wrong.push(`${page.url()}: asks ${request.url()}`);
  });
  return { page, wrong, close: () => context.close() };
}

/** Addresses of all pages, relative to the version. */
const pages = globSync('**/index.html', { cwd: SITE }).map((path) => `${dirname(path)}/`.replace(/^\.\//, ''));

describe('each page of the site', () => {
  it('is there', () => expect(pages.length).toBeGreaterThan(60));

  it('has a heading and no errors, asks no other server, and is no wider than a telephone', async () => {
    const rest = [...pages];
    const faults: string[] = [];
    const index = JSON.parse(readFileSync(join(SITE, 'search/search_index.json'), 'utf8'));
    const look = async (): Promise<void> => {
      const { page, wrong, close } = await tab(TELEPHONE);
      // The theme reads and indexes the words of the whole site on each page, which takes most of the time. The search has a test of its own.
      await page.route('**/search/search_index.json', (route) => route.fulfill({ json: { ...index, docs: index.docs.slice(0, 1) } }));
      for (let path = rest.pop(); path !== undefined; path = rest.pop()) {
        await page.goto(latest + path, { waitUntil: 'load' });
        const heading = await page.evaluate<string>("document.querySelector('article h1')?.textContent ?? ''");
        const width = await page.evaluate<number>(WIDTH);
        for (const text of await page.evaluate<string[]>(NOT_UNDERSTOOD)) wrong.push(`${path}: is shown as it is written: ${text}`);
        if (!heading) wrong.push(`${path}: there is no heading`);
        if (width > TELEPHONE.width) wrong.push(`${path}: is ${width} pixels wide`);
      }
      faults.push(...wrong);
      await close();
    };
    await Promise.all([look(), look()]);
    expect(faults).toStrictEqual([]);
  });
});

describe('a reader', () => {
  let opened: Awaited<ReturnType<typeof tab>>;
  beforeEach(async () => {
    opened = await tab(DESKTOP);
  });
  afterEach(async () => {
    expect(opened.wrong).toStrictEqual([]);
    await opened.close();
  });

  it('finds "Multi-Attach" by the search', async () => {
    const { page } = opened;
    await page.goto(latest);
    await page.locator('[data-md-component=search-query]').fill('Multi-Attach');
    const result = page.locator('[data-md-component=search-result] a[href*="troubleshoot"]').first();
    await result.waitFor();
    await result.click();
    await page.waitForURL(/troubleshoot/);
    expect(await page.locator('article').textContent()).toContain('Multi-Attach');
  });

  it('sees the diagrams drawn', async () => {
    const { page } = opened;
    await page.goto(`${latest}architecture/`);
    // The theme replaces the text of each diagram by a drawing.
    await page.waitForFunction("document.querySelectorAll('pre.mermaid').length === 0");
    const heights = await page.locator('div.mermaid').evaluateAll((all) => all.map((each) => each.getBoundingClientRect().height));
    expect(heights.length).toBeGreaterThan(5);
    expect(Math.min(...heights)).toBeGreaterThan(100);
  });

  it('chooses between versions', async () => {
    const { page } = opened;
    await page.goto(`${server.url}/0.0/install/`);
    const versions = page.locator('.md-version__link');
    await versions.first().waitFor({ state: 'attached' });
    expect(await versions.allTextContents()).toStrictEqual(['0.1', '0.0']);
    await page.goto(server.url);
    await page.waitForURL(latest);
    expect(await page.locator('article h1').textContent()).toContain('aoe-csi');
  });
});
