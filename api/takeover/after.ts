/** In place of a silence: no takeover, however long a node is silent. */
export const NEVER = 'Never';

/**
 * What takeover.after of the chart and spec.takeoverAfter of an AoEVolume may say: whole seconds from 20s to 9999s, or {@link NEVER}. Heartbeats
 * come every 5 s: below 20 s, a few lost ones would count as silence.
 */
export const TAKEOVER_AFTER_PATTERN = /^(([2-9][0-9]|[1-9][0-9]{2,3})s|Never)$/;

/**
 * The silence after which volumes are taken over, in milliseconds; undefined for {@link NEVER}.
 * @throws RangeError
 * @example parseTakeoverAfter('30s') === 30_000
 */
export function parseTakeoverAfter(text: string): number | undefined {
  if (!TAKEOVER_AFTER_PATTERN.test(text))
    throw new RangeError(`"${text}" is neither a time from 20s to 9999s, in whole seconds, nor ${NEVER}`);
  return text === NEVER ? undefined : Number.parseInt(text, 10) * 1000;
}

/**
 * The silence after which a volume may be taken over, in milliseconds; undefined for never.
 * @param spec of an AoEVolume
 * @param clusterMs the cluster's value, for volumes without their own
 */
export function takeoverAfterMs(spec: { readonly takeoverAfter?: string | undefined }, clusterMs: number | undefined): number | undefined {
  return spec.takeoverAfter === undefined ? clusterMs : parseTakeoverAfter(spec.takeoverAfter);
}
