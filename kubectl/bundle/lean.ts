/** Instead of a value that may be secret. */
const HIDDEN = '(not in the bundle)';
const NAME = 'app.kubernetes.io/name';
const GROUPS = /(^|\.)(kubernetes\.io|k8s\.io|aoe\.dev)\//;

interface Loose {
  [field: string]: unknown;
}

/**
 * An object as it goes into a bundle: without what may be secret and does not help. That is the values of environment variables, which
 * people set with extraEnv, the annotation in which kubectl keeps what was applied, and the images on a Node. Labels and annotations of
 * claims are the user's own: with `isRedacted` only those of Kubernetes stay, and what the API server notes of them in managedFields goes,
 * too. Labels of app.kubernetes.io have names of the user's releases and applications, and owners may have the same names: both stay with
 * objects of this project's chart alone.
 */
export function leanObject(object: object, { isRedacted = false } = {}): object {
  const lean = walk(object) as Loose;
  const { metadata, status } = lean;
  if (isLoose(status)) delete status.images;
  if (!isLoose(metadata)) return lean;
  const annotations = isLoose(metadata.annotations) ? { ...metadata.annotations } : {};
  delete annotations['kubectl.kubernetes.io/last-applied-configuration'];
  const isOurs = isLoose(metadata.labels) && metadata.labels[NAME] === 'aoe-csi';
  const isKept = (key: string) => GROUPS.test(key) && (isOurs || !key.startsWith('app.kubernetes.io/'));
  const keep = ([key]: [string, unknown]) => !isRedacted || isKept(key);
  const own = (labels: unknown) => Object.fromEntries(Object.entries(isLoose(labels) ? labels : {}).filter(keep));
  if (isRedacted) delete metadata.managedFields;
  if (isRedacted && !isOurs) delete metadata.ownerReferences;
  return { ...lean, metadata: { ...metadata, labels: own(metadata.labels), annotations: own(annotations) } };
}

function isLoose(value: unknown): value is Loose {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function walk(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(walk);
  if (!isLoose(value)) return value;
  return Object.fromEntries(
    Object.entries(value).map(([key, each]) => [key, key === 'env' && Array.isArray(each) ? each.map(variable) : walk(each)]),
  );
}

/** The name of an environment variable, and where it comes from; not its value. */
function variable(each: unknown): unknown {
  return isLoose(each) && 'value' in each ? { ...each, value: HIDDEN } : each;
}
