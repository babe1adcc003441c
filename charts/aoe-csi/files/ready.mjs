// Run by "helm test" in a pod: prints one line per node and pool, and fails when one of them is not ready. After an installation or an
// upgrade, agents may still be starting: Helm's --wait lets one pod of each DaemonSet be missing. The API server, too, may not answer at once.
const WAIT_MS = 60_000;
const POLL_MS = 2_000;
const { readFileSync } = process.getBuiltinModule('node:fs');
const token = readFileSync('/var/run/secrets/kubernetes.io/serviceaccount/token', 'utf8');
const host = process.env.KUBERNETES_SERVICE_HOST;
const server = `https://${host.includes(':') ? `[${host}]` : host}:${process.env.KUBERNETES_SERVICE_PORT_HTTPS ?? 443}`;
const list = async (path) => {
  const response = await fetch(server + path, { headers: { authorization: `Bearer ${token}` }, signal: AbortSignal.timeout(10_000) });
  if (!response.ok) throw new Error(`GET ${path}: ${response.status} ${await response.text()}`);
  return (await response.json()).items;
};
/** The lines to print, and how many of them are failures. */
const check = async () => {
  const lines = [];
  let failures = 0;
  const report = (ok, text) => {
    if (!ok) failures++;
    lines.push(`${ok ? 'ok    ' : 'FAILED'} ${text}`);
  };
  const registered = (await list('/apis/storage.k8s.io/v1/csinodes'))
    .filter((node) => node.spec.drivers?.some((driver) => driver.name === 'aoe.dev'))
    .map((node) => node.metadata.name);
  report(registered.length > 0, `driver aoe.dev is registered on ${registered.length} node(s): ${registered.join(', ') || 'look at the aoe-csi-node pods'}`);
  for (const node of await list('/apis/aoe.dev/v1alpha1/aoenodes')) {
    for (const condition of node.status?.conditions ?? []) {
      report(condition.status === 'True', `node ${node.metadata.name}: ${condition.type} ${condition.reason} ${condition.message}`);
    }
  }
  for (const pool of await list('/apis/aoe.dev/v1alpha1/aoepools')) {
    const nodes = pool.status?.nodes ?? [];
    if (nodes.length === 0) lines.push(`note   pool ${pool.metadata.name}: no storage node has reported it; are nodes labelled?`);
    for (const node of nodes) report(node.ready, `pool ${pool.metadata.name} on ${node.name}: ${node.ready ? `free ${node.free ?? '?'}` : (node.message ?? 'not ready')}`);
  }
  return { lines, failures };
};
const run = async () => {
  for (const end = Date.now() + WAIT_MS; ; ) {
    try {
      const { lines, failures } = await check();
      if (failures === 0 || Date.now() >= end) {
        console.log(lines.join('\n'));
        return failures;
      }
    } catch (error) {
      if (Date.now() >= end) throw error;
    }
    await new Promise((resolve) => setTimeout(resolve, POLL_MS));
  }
};
run().then(
  (failures) => process.exit(failures > 0 ? 1 : 0),
  (error) => {
    console.error(error.cause?.message ?? error.message);
    process.exit(1);
  },
);
