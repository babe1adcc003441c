import type { Group } from './check.ts';
import { aoetools } from './profiles/aoetools.ts';
import { illumos } from './profiles/illumos.ts';
import { ipxe } from './profiles/ipxe.ts';
import { linux } from './profiles/linux.ts';
import { macos } from './profiles/macos.ts';
import { openbsd } from './profiles/openbsd.ts';
import { plan9 } from './profiles/plan9.ts';
import { windows } from './profiles/windows.ts';
import { addressing } from './rules/addressing.ts';
import { announcement } from './rules/announcement.ts';
import { ata } from './rules/ata.ts';
import { bounds } from './rules/bounds.ts';
import { config } from './rules/config.ts';
import { header } from './rules/header.ts';
import { hostile } from './rules/hostile.ts';
import { identify } from './rules/identify.ts';
import { mask } from './rules/mask.ts';
import { reserve } from './rules/reserve.ts';

/** The rules of AoEr11. */
export const RULES: readonly Group[] = [header, addressing, ata, bounds, identify, config, mask, reserve, hostile, announcement];

/** What initiators send, by the name that --profile takes. */
export const PROFILES = { linux, aoetools, ipxe, windows, plan9, illumos, macos, openbsd } as const satisfies Record<string, Group>;

/** @throws RangeError when there is no such profile */
export function groupsFor(names: readonly string[]): readonly Group[] {
  if (names.length === 0) return [...RULES, ...Object.values(PROFILES)];
  return names.flatMap((name) => {
    if (name === 'rules') return RULES;
    const profile = Object.entries(PROFILES).find(([key]) => key === name)?.[1];
    if (!profile) throw new RangeError(`no profile "${name}": there are rules, ${Object.keys(PROFILES).join(', ')}`);
    return [profile];
  });
}
