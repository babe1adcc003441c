import { join } from 'node:path';
import { build } from 'esbuild';
import { leanClient } from './lean-client.ts';

const root = join(import.meta.dirname, '..');

function bundle(contents: string) {
  return build({
    stdin: { contents, resolveDir: join(root, 'kube'), loader: 'ts' },
    bundle: true,
    write: false,
    metafile: true,
    platform: 'node',
    format: 'esm',
    target: 'node24',
    external: ['koffi'],
    logLevel: 'silent',
    plugins: [leanClient],
  });
}

for (const program of ['operator', 'agent', 'csi']) {
  test(`${program} has only the code in it that it runs: no HTTP client, no generated API, no schemas`, async () => {
    const { metafile } = await bundle(`import '../${program}/main.ts';`);
    const inputs = Object.keys(metafile.inputs);
    expect(inputs.some((path) => path.endsWith('@kubernetes/client-node/dist/config.js'))).toBe(true);
    expect(
      inputs.filter((path) => /node_modules\/(undici|zod)\/|client-node\/dist\/gen\/(apis|models)\/|api\/schema\//.test(path)),
    ).toStrictEqual([]);
  });
}

test('a program that wants more of the Kubernetes client is not built', async () => {
  const attempt = bundle("import { CoreV1Api } from '@kubernetes/client-node'; console.log(CoreV1Api);");
  await expect(attempt).rejects.toThrow(/No matching export .* for import "CoreV1Api"/);
});
