import { join } from 'node:path';
import { TcpProxy } from '../../../kube/testing/tcp-proxy.ts';
import { ApiServer, freePorts } from '../../apiserver/server.ts';
import { ROOT } from '../../testbed/paths.ts';
import { poll } from '../../testbed/process/shell.ts';
import { CLIENTS, type Client, PROGRAMS, type Program } from '../model/fast-faults.ts';
import { STORAGE } from '../model/plan.ts';
import { Part } from './part.ts';

const START_MS = 30_000;
const dist = (name: string): string => join(ROOT, 'dist', name);

/** All real programs: API server and etcd, operator, CSI controller, and the storage node's agent and target. */
export class Parts implements AsyncDisposable {
  readonly api: ApiServer;
  /** Each client's line to the API server. */
  readonly lines: Record<Client, TcpProxy>;
  readonly programs: Record<Program, Part>;
  readonly csiSocket: string;
  readonly targetSocket: string;
  readonly #health: readonly string[];

  private constructor(directory: string, api: ApiServer, lines: [Client, { proxy: TcpProxy; kubeconfig: string }][], ports: number[]) {
    const at = (name: string): string => join(directory, name);
    this.api = api;
    this.lines = Object.fromEntries(lines.map(([name, { proxy }]) => [name, proxy])) as Parts['lines'];
    this.csiSocket = at('csi.sock');
    this.targetSocket = at('target.sock');
    this.#health = ports.map((port) => `127.0.0.1:${port}`);
    const kubeconfig = Object.fromEntries(lines.map(([name, line]) => [name, `--kubeconfig=${line.kubeconfig}`]));
    const node = (program: string, ...args: (string | undefined)[]) => [process.execPath, dist(program), ...args.map((arg) => arg ?? '')];
    const [agent, controller, operator] = this.#health.map((address) => `--http=${address}`);
    const argv: Record<Program, string[]> = {
      target: [dist('cargo/release/aoe-target'), '--socket', this.targetSocket, '--state', at('target')],
      agent: node('agent.js', kubeconfig.agent, agent, `--node=${STORAGE}`, `--target-socket=${this.targetSocket}`, '--interfaces=target0'),
      controller: node('csi.js', 'controller', kubeconfig.controller, controller, `--endpoint=unix://${this.csiSocket}`),
      // Volumes are taken over that have a time of their own. One identity: an operator that is started again has the lease at once, as a second one would after 30 s.
      operator: node('operator.js', kubeconfig.operator, operator, '--namespace=default', '--identity=operator', '--takeover-after=Never'),
    };
    const part = (name: Program) => [name, new Part(name, argv[name], at(`${name}.log`))] as const;
    this.programs = Object.fromEntries(PROGRAMS.map(part)) as Parts['programs'];
  }

  /** Starts API server and etcd. */
  static async start(directory: string): Promise<Parts> {
    const api = await ApiServer.start();
    const lines = await Promise.all(CLIENTS.map(async (name) => [name, await TcpProxy.before(api.kubeconfig)] as [Client, Line]));
    return new Parts(directory, api, lines, await freePorts(CLIENTS.length));
  }

  /** Starts our programs, and waits until each says that it is ready. */
  async startPrograms(): Promise<void> {
    for (const part of Object.values(this.programs)) part.start();
    await Promise.all(this.#health.map((address) => this.#ready(address)));
  }

  async #ready(address: string): Promise<void> {
    const ask = async () => ((await fetch(`http://${address}/readyz`)).ok ? true : undefined);
    const explain = () => Object.values(this.programs).map((part) => part.tail(2_000));
    await poll(ask, { timeoutMs: START_MS, intervalMs: 30, what: 'a program to be ready', explain: () => explain().join('\n') });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(Object.values(this.programs).map((part) => part.kill()));
    await Promise.all(Object.values(this.lines).map((line) => line[Symbol.asyncDispose]()));
    await this.api.stop();
  }
}

type Line = { proxy: TcpProxy; kubeconfig: string };
