// biome-ignore-all lint/suspicious/noExplicitAny: as @types/jest does
// Types of what setup.ts adds to Jest's globals.

type Skip = string | boolean | undefined;

declare namespace jest {
  interface Expect {
    /** @param context stands before the message of the matcher that fails */
    <T>(actual: T, context: string): JestMatchers<T>;
    /** What the function returns true for. */
    toSatisfy(accepts: (actual: any) => boolean): any;
  }
  interface Matchers<R> {
    toSatisfy(accepts: (actual: any) => boolean): R;
  }
  interface It {
    /** Skipped when there is a reason, which is shown. */
    skipIf(reason: Skip): It;
  }
  interface Describe {
    skipIf(reason: Skip): Describe;
  }
}

/** Has something undone when the test that runs has ended, however it ended; what came last comes first. */
declare function onTestFinished(finish: () => unknown): void;
