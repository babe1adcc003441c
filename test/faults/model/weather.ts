/** What a link does to frames, as a share of them. */
export interface Weather {
  /** Lost. */
  lose: number;
  /** Delivered twice. */
  repeat: number;
  /** Delivered after a time between these, in milliseconds; the rest at once. */
  late: { share: number; fromMs: number; toMs: number };
  /** Only what the target sends is concerned. */
  repliesOnly: boolean;
}

export const CLEAR: Weather = { lose: 0, repeat: 0, late: { share: 0, fromMs: 0, toMs: 0 }, repliesOnly: false };
const late = (share: number, fromMs: number, toMs: number): Pick<Weather, 'late'> => ({ late: { share, fromMs, toMs } });

/** Bad weather by name. A takeover takes about 100 ms: a `late` frame arrives when another host has the volume. */
export const WEATHER = {
  loss: { ...CLEAR, lose: 0.15 },
  delay: { ...CLEAR, ...late(1, 1, 15) },
  late: { ...CLEAR, ...late(0.3, 150, 4_000) },
  duplicate: { ...CLEAR, repeat: 0.3, ...late(0.3, 1, 400) },
  reorder: { ...CLEAR, ...late(0.4, 1, 8) },
  'replies-lost': { ...CLEAR, lose: 0.4, repliesOnly: true },
  'replies-late': { ...CLEAR, repeat: 0.2, ...late(0.5, 20, 1_500), repliesOnly: true },
} as const satisfies Record<string, Weather>;
export type How = keyof typeof WEATHER;

/** What becomes of one frame: after how many milliseconds each copy of it arrives; none when it is lost. */
export function fate(weather: Weather, next: () => number): number[] {
  if (next() < weather.lose) return [];
  const copies = next() < weather.repeat ? 2 : 1;
  const { share, fromMs, toMs } = weather.late;
  return Array.from({ length: copies }, () => (next() < share ? fromMs + next() * (toMs - fromMs) : 0));
}
