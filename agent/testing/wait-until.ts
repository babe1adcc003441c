const LIMIT_MS = 8_000;

/** Fulfilled when this is so, which is looked at often. Fails after 8 s. */
export async function waitUntil(is: () => boolean): Promise<void> {
  for (const end = performance.now() + LIMIT_MS; !is(); ) {
    expect(performance.now(), is.toString()).toBeLessThan(end);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}
