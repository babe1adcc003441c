/**
 * How much longer than its limit says a test waits before it fails. Limits are what a quick machine needs with room to spare; CI's may be
 * three times slower, and a wait that succeeds costs no more for a longer limit. Where the limit itself is what is shown, a test uses
 * `exact`.
 */
export const PATIENCE = 3;
