import type { Cluster } from '../testbed/cluster.ts';

const bold = (text: string) => `\x1b[1m${text}\x1b[0m`;
const dim = (text: string) => `\x1b[2m${text}\x1b[0m`;
const indent = (text: string) => text.trimEnd().replace(/^/gm, '    ');

/** Waits in the story end with an error after this many seconds. */
const LIMIT_S = 60;

/** Runs the story's commands, showing each as a person would type it, how long it took and what came of it. */
export class Narrator {
  readonly cluster: Pick<Cluster, 'kubectl' | 'apply' | 'poll' | 'guest' | 'aoecfg'>;
  readonly #print: (text: string) => void;
  #chapter = 0;

  constructor(cluster: Narrator['cluster'], print: (text: string) => void = console.log) {
    this.cluster = cluster;
    this.#print = print;
  }

  chapter(title: string): void {
    this.#print(`\n${bold(`${++this.#chapter}. ${title}`)}`);
  }

  /** Runs kubectl and gives its output, showing nothing. */
  async read(...args: string[]): Promise<string> {
    return (await this.cluster.kubectl(args)).trim();
  }

  /** Runs kubectl, showing the command and its output. */
  async show(...args: string[]): Promise<string> {
    return this.#run(`kubectl ${args.join(' ')}`, () => this.cluster.kubectl(args));
  }

  async kubectl(...args: string[]): Promise<void> {
    await this.show(...args);
  }

  async apply(what: string, objects: object[]): Promise<void> {
    this.#print(`  ${what}:`);
    await this.#run('kubectl apply -f -', () => this.cluster.apply(objects));
  }

  async waitFor(kind: string, name: string, condition: string): Promise<void> {
    await this.show('wait', kind, name, `--for=${condition}`, `--timeout=${LIMIT_S}s`);
  }

  async waitForGone(kind: string, name: string): Promise<void> {
    await this.show('wait', kind, name, '--for=delete', `--timeout=${LIMIT_S}s`);
  }

  /** Waits until a field's text contains `part`, and shows the text. */
  async waitForText(kind: string, name: string, jsonpath: string, part: string): Promise<void> {
    const read = () => this.read('get', kind, name, '-o', jsonpath);
    await this.#runUntil(`kubectl get ${kind} ${name} -o '${jsonpath}'`, read, part);
  }

  /** Runs kubectl until its output contains `part`, and shows it: a log or a status comes a moment after what it tells of. */
  async showUntil(part: string, ...args: string[]): Promise<void> {
    await this.#runUntil(`kubectl ${args.join(' ')}`, () => this.cluster.kubectl(args), part);
  }

  /** Waits for an event of a pod with this reason, and shows its message. */
  async showEvent(podName: string, reason: string): Promise<void> {
    const selector = `involvedObject.name=${podName},reason=${reason}`;
    await this.#run(`kubectl get events --field-selector ${selector}`, () =>
      this.cluster.poll(
        async () => {
          const text = await this.read(
            'get',
            'events',
            '--field-selector',
            selector,
            '-o',
            'jsonpath={range .items[*]}{.reason}: {.message}{"\\n"}{end}',
          );
          return text === '' ? undefined : `${text}\n`;
        },
        { timeoutMs: LIMIT_S * 1000, what: `an event ${reason} on pod ${podName}` },
      ),
    );
  }

  /** Runs a script on a node, showing it and its output. */
  async onNode(node: string, script: string, note?: string): Promise<void> {
    if (note) this.#print(`  ${note}:`);
    await this.#run(`${node}# ${script.replace(/\n\s*/g, '\n      ')}`, () => this.cluster.guest(node).exec(script));
  }

  /**
   * Reads the config string at an address such as `e7.3` on the storage segment, as a host that is no node, and shows it once it contains
   * `part`. aoecfg(8) sends one frame, which can be lost.
   */
  async showConfigString(address: string, part: string, note: string): Promise<void> {
    this.#print(`  ${note}:`);
    await this.#runUntil(`segment# aoecfg ${address.slice(1).replace('.', ' ')} storage`, () => this.cluster.aoecfg(address), part);
  }

  async #runUntil(command: string, read: () => Promise<string>, part: string): Promise<void> {
    await this.#run(command, () =>
      this.cluster.poll(
        async () => {
          const text = await read();
          return text.includes(part) ? text : undefined;
        },
        { timeoutMs: LIMIT_S * 1000, what: `"${part}" from ${command}` },
      ),
    );
  }

  async #run(command: string, action: () => Promise<string>): Promise<string> {
    const started = performance.now();
    this.#print(`  ${bold('$')} ${command}`);
    const output = await action();
    if (output.trim() !== '') this.#print(indent(output));
    this.#print(dim(`    ${((performance.now() - started) / 1000).toFixed(1)} s`));
    return output;
  }
}
