// What the API server accepts and refuses by our CRDs alone: one server for all of it, since none of these tests runs a program.
import type { Kube } from '../../kube/mod.ts';
import { cleanAfter } from './objects.ts';
import { adopt } from './rules/adopt.ts';
import { crds } from './rules/crds.ts';
import { encryptionRules } from './rules/encryption-rules.ts';
import { externalSerial } from './rules/external-serial.ts';
import { externalSource } from './rules/external-source.ts';
import { limits } from './rules/limits.ts';
import { snapshotCrds } from './rules/snapshot-crds.ts';
import { takeoverRules } from './rules/takeover-rules.ts';
import { volumeLimits } from './rules/volume-limits.ts';
import { serveTests, unavailable } from './server.ts';

const RULES: [string, (kube: () => Kube) => void][] = [
  ['the CRDs', crds],
  ['the CRDs of snapshots', snapshotCrds],
  ['adoption', adopt],
  ['encryption of an AoEVolume', encryptionRules],
  ['that the serial number of an external target changes', externalSerial],
  ['a copy of the disk of an external target', externalSource],
  ['spec.takeoverAfter of an AoEVolume', takeoverRules],
  ['spec.limits', volumeLimits],
  ['names at the limits', limits],
];

describe.skipIf(unavailable)('on a real API server:', () => {
  let kube: Kube;
  serveTests((started) => {
    ({ kube } = started);
  });

  for (const [what, declareTests] of RULES)
    describe(what, () => {
      declareTests(() => kube);
      cleanAfter(() => kube);
    });
});
