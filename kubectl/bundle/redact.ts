/** What is replaced: names by what they name. */
export interface Names {
  readonly namespaces: Iterable<string>;
  readonly claims: Iterable<string>;
  readonly pods: Iterable<string>;
  /** VolumeSnapshots and VolumeGroupSnapshots. */
  readonly snapshots?: Iterable<string>;
  readonly secrets?: Iterable<string>;
}

/** Namespaces whose names tell nothing. */
const KNOWN: ReadonlySet<string> = new Set(['default', 'kube-system', 'kube-public', 'kube-node-lease', 'aoe-csi']);
/** Names of API groups, drivers and labels, in which a name may occur by chance. They stay. */
const GROUPS = '(?:[a-z0-9-]+\\.)*(?:aoe\\.dev|kubernetes\\.io|k8s\\.io)(?:/[A-Za-z0-9-]+)?';
const MAC = /\b[0-9a-f]{2}(?::[0-9a-f]{2}){5}\b/gi;

/**
 * Replaces names by pseudonyms: the same name by the same pseudonym, in all texts. A name is replaced wherever it stands as a word,
 * since messages quote it. Who knows only the pseudonyms learns nothing of the names: they are numbers.
 */
export class Redactor {
  readonly #pseudonyms = new Map<string, string>();
  readonly #pattern: RegExp | undefined;
  readonly #macs = new Map<string, string>();

  constructor({ namespaces, claims, pods, snapshots = [], secrets = [] }: Names) {
    const real = new Set([namespaces, claims, pods, snapshots, secrets].flatMap((each) => [...each]));
    const add = (kind: string, names: Iterable<string>) => {
      let count = 0;
      for (const name of [...new Set(names)].toSorted()) {
        if (KNOWN.has(name) || this.#pseudonyms.has(name)) continue;
        // One that is a name itself would stand for two.
        do count++;
        while (real.has(`${kind}-${count}`));
        this.#pseudonyms.set(name, `${kind}-${count}`);
      }
    };
    add('namespace', namespaces);
    add('claim', claims);
    add('pod', pods);
    add('snapshot', snapshots);
    add('secret', secrets);
    // The longest first: a name may be the beginning of another.
    const names = [...this.#pseudonyms.keys()].toSorted((a, b) => b.length - a.length);
    const words = names.map((name) => name.replace(/[.]/g, '\\.')).join('|');
    this.#pattern = names.length === 0 ? undefined : new RegExp(`(?<![A-Za-z0-9-])(?:${GROUPS}|${words})(?![A-Za-z0-9-])`, 'g');
  }

  /** The names by their pseudonyms: for whoever made the bundle. Complete once all texts have been replaced. */
  get names(): Record<string, string> {
    return Object.fromEntries([...this.#pseudonyms, ...this.#macs].map(([name, pseudonym]) => [pseudonym, name]));
  }

  text(text: string): string {
    const named = this.#pattern ? text.replace(this.#pattern, (name) => this.#pseudonyms.get(name) ?? name) : text;
    return this.macs(named);
  }

  /** Replaces MAC addresses alone: in what is made of objects whose names are replaced already. */
  macs(text: string): string {
    return text.replace(MAC, (mac) => this.#mac(mac)).replace(/(?<![0-9a-f-])[0-9a-f]{12}(?![0-9a-f-])/g, (bare) => this.#bareMac(bare));
  }

  /** All texts in values of JSON; keys, which are names of fields, stay. */
  value<T>(value: T): T {
    if (typeof value === 'string') return this.text(value) as T;
    if (Array.isArray(value)) return value.map((each: unknown) => this.value(each)) as T;
    if (typeof value !== 'object' || value === null) return value;
    return Object.fromEntries(Object.entries(value).map(([key, each]) => [key, this.value(each)])) as T;
  }

  #mac(mac: string): string {
    const key = mac.toLowerCase();
    const pseudonym = this.#macs.get(key) ?? `mac-${this.#macs.size + 1}`;
    this.#macs.set(key, pseudonym);
    return pseudonym;
  }

  /** sysfs writes the MAC of a disk's target without colons. Other words of twelve digits, such as ends of UIDs, stay. */
  #bareMac(bare: string): string {
    return this.#macs.get(bare.match(/../g)?.join(':') ?? '') ?? bare;
  }
}
