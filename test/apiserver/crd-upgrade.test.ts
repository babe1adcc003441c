import { setTimeout as delay } from 'node:timers/promises';
import { AOE_POOLS } from '../../api/resources.ts';
import { customResourceDefinitions } from '../../api/schema/crds.ts';
import { CUSTOM_RESOURCE_DEFINITIONS, type Definition, upgradeDefinitions } from '../../crds/upgrade.ts';
import type { Kube, KubeObject, Log } from '../../kube/mod.ts';
import { serveTests, unavailable } from './server.ts';

const ours = () => structuredClone(customResourceDefinitions()) as unknown as Definition[];
const NAME = 'aoepools.aoe.dev';
const SPEC = { backend: 'lvm', volumeGroup: 'vg0' };

type Pool = KubeObject & { spec: object };

/** Our definitions as a chart would have them that does not know `spec.wipe` of a pool, and has a column of its own. */
function older(): Definition[] {
  const definitions = ours();
  // biome-ignore lint/suspicious/noExplicitAny: the schema is as loosely typed as JSON is.
  const pools = definitions.find(({ metadata }) => metadata.name === NAME) as any;
  const [version] = pools.spec.versions;
  delete version.schema.openAPIV3Schema.properties.spec.properties.wipe;
  delete version.schema.openAPIV3Schema.properties.spec['x-kubernetes-validations'];
  version.additionalPrinterColumns = [{ name: 'Old', type: 'string', jsonPath: '.spec.old' }];
  return definitions;
}

describe.skipIf(unavailable)('the CRDs of a cluster', () => {
  let kube: Kube;
  const warnings: object[] = [];
  const ignore = () => undefined;
  const log: Log = { debug: ignore, info: ignore, warn: (fields: object) => warnings.push(fields), error: ignore };
  serveTests((started) => {
    ({ kube } = started);
  });

  const upgrade = (definitions: Definition[]) => upgradeDefinitions(kube, definitions, { log, signal: AbortSignal.timeout(120_000) });
  /** Until the API server, which takes a moment to serve a changed definition, drops or keeps the field of a pool. */
  async function dropsWipe(drops: boolean): Promise<void> {
    const signal = AbortSignal.timeout(120_000);
    for (;;) {
      const { spec } = await kube.patch<Pool>(AOE_POOLS, 'kept', { spec: { wipe: 'Ends' } }, { signal });
      if ('wipe' in spec !== drops) return;
      await delay(50, undefined, { signal });
    }
  }
  const live = async () => (await kube.get<Definition>(CUSTOM_RESOURCE_DEFINITIONS, NAME))?.spec.versions;

  it('become those of the chart, with new fields and without old columns; objects stay', async () => {
    await kube.create(AOE_POOLS, { metadata: { name: 'kept' }, spec: SPEC });
    const [pools] = older().filter(({ metadata }) => metadata.name === NAME);
    await kube.patch(CUSTOM_RESOURCE_DEFINITIONS, NAME, { spec: { versions: pools?.spec.versions } }, { fieldManager: 'helm' });
    await dropsWipe(true);
    await upgrade(ours());
    expect(JSON.stringify(await live())).not.toMatch('"Old"');
    await dropsWipe(false);
    expect((await kube.get<Pool>(AOE_POOLS, 'kept'))?.spec).toStrictEqual({ ...SPEC, wipe: 'Ends' });
  });

  it('stay as they are when an older chart is installed, and a warning names the fields', async () => {
    const before = await live();
    await upgrade(older());
    expect(await live()).toStrictEqual(before);
    expect(warnings).toStrictEqual([{ name: NAME, fields: ['v1alpha1.spec.wipe'] }]);
  });

  it('that are missing are made, and are served when the upgrade is done', async () => {
    await kube.delete(CUSTOM_RESOURCE_DEFINITIONS, NAME);
    await upgrade(ours());
    expect((await kube.list(AOE_POOLS)).items).toStrictEqual([]);
  });
});
