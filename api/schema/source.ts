import { z } from 'zod';
import { REFUSED_SHELF } from '../address.ts';
import { Address } from './address.ts';

/** Serial number of a disk, as IDENTIFY DEVICE reports it. */
export const Serial = z.string().min(1).max(20);

/** Where the data of a volume comes from. */
export const VolumeSource = z
  .object({
    snapshot: z.string().min(1).max(253).optional().describe('Name of the AoESnapshot whose data the volume begins with.'),
    external: z
      .object({
        ...Address.shape,
        serial: Serial.optional().describe(
          'Serial number that the disk must report. When absent, any disk is copied; when two different disks answer, none is.',
        ),
      })
      .meta({ 'x-kubernetes-validations': [{ rule: `self.shelf != ${REFUSED_SHELF}`, message: `shelf ${REFUSED_SHELF} cannot be used` }] })
      .optional()
      .describe(
        'Address of a target outside this project, such as vblade, whose disk is copied. Nobody may write to it from before the copy begins until the volume is used instead. spec.address may be the same address: the volume is then exported once the other target is silent.',
      ),
  })
  .meta({
    'x-kubernetes-validations': [
      {
        rule: 'has(self.snapshot) != has(self.external)',
        message: 'give either snapshot (an AoESnapshot) or external (the disk of a target that someone else serves)',
      },
    ],
  });
