/** Whether the tests run that are part of `make test-long` and not of `make test`. */
export const LONG = Boolean(process.env.LONG);

/** A test that takes minutes, and shows what others show nearly as well. */
export const longTest = LONG ? it : it.skip;
