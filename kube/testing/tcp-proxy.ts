import { once } from 'node:events';
import { readFileSync, writeFileSync } from 'node:fs';
import { connect, createServer, type Server, type Socket } from 'node:net';

/** A TCP proxy on the loopback interface whose connections can be broken, silenced, or refused. */
export class TcpProxy implements AsyncDisposable {
  readonly #server: Server;
  readonly #target: number;
  readonly #pairs = new Set<readonly [Socket, Socket]>();
  #silent = false;
  #refusing = false;
  /** Connections made so far. */
  connections = 0;

  private constructor(target: number) {
    this.#target = target;
    this.#server = createServer((near) => this.#join(near));
  }

  static async start(target: number): Promise<TcpProxy> {
    const proxy = new TcpProxy(target);
    proxy.#server.listen(0, '127.0.0.1');
    await once(proxy.#server, 'listening');
    return proxy;
  }

  /** A proxy to the server of a kubeconfig, and a kubeconfig that leads through it, written beside the other. */
  static async before(kubeconfig: string): Promise<{ proxy: TcpProxy; kubeconfig: string }> {
    const text = readFileSync(kubeconfig, 'utf8');
    const proxy = await TcpProxy.start(Number(/https:\/\/127\.0\.0\.1:([0-9]+)/.exec(text)?.[1]));
    const path = `${kubeconfig}-${proxy.port}`;
    writeFileSync(path, text.replace(/(https:\/\/127\.0\.0\.1):[0-9]+/, `$1:${proxy.port}`));
    return { proxy, kubeconfig: path };
  }

  get port(): number {
    const address = this.#server.address();
    return typeof address === 'object' && address ? address.port : 0;
  }

  /** Breaks all connections. New ones work. */
  cut(): void {
    for (const [near, far] of this.#pairs) {
      near.resetAndDestroy();
      far.destroy();
    }
  }

  /** Existing connections pass nothing from now on, and none of them ends. New ones work. */
  freeze(): void {
    for (const pair of this.#pairs) for (const socket of pair) socket.unpipe().pause();
  }

  /** No connection, old or new, passes anything. */
  set silent(silent: boolean) {
    this.#silent = silent;
    if (silent) this.freeze();
  }

  /** Breaks all connections, and new ones at once. */
  set refusing(refusing: boolean) {
    this.#refusing = refusing;
    if (refusing) this.cut();
  }

  #join(near: Socket): void {
    this.connections++;
    if (this.#refusing) {
      near.resetAndDestroy();
      return;
    }
    const far = connect(this.#target, '127.0.0.1');
    const pair = [near, far] as const;
    this.#pairs.add(pair);
    for (const [one, other] of [pair, [far, near] as const]) {
      one.on('error', () => {});
      one.on('close', () => {
        other.destroy();
        this.#pairs.delete(pair);
      });
      if (!this.#silent) one.pipe(other);
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.cut();
    await new Promise((resolve) => this.#server.close(resolve));
  }
}
