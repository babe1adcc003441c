import { Server } from '@grpc/grpc-js';
import { RpcServer } from './mod.ts';

const log = { debug: () => {}, info: () => {}, error: () => {} };

/** What Node.js says on a machine that was started with ipv6.disable=1. */
const NO_IPV6 = 'No address added out of total 1 resolved errors: [listen EAFNOSUPPORT: address family not supported :::9816]';
const IN_USE = 'No address added out of total 1 resolved errors: [listen EADDRINUSE: address already in use :::9816]';

describe('a server on all addresses of the network', () => {
  const original = Object.getOwnPropertyDescriptor(Server.prototype, 'bindAsync') ?? {};
  afterEach(() => {
    Object.defineProperty(Server.prototype, 'bindAsync', original);
  });

  /** @returns the addresses that were tried, of which those in `failing` fail */
  async function start(failing: Record<string, string>): Promise<{ tried: string[]; port: number | undefined }> {
    const tried: string[] = [];
    Server.prototype.bindAsync = (address, _credentials, callback) => {
      tried.push(address);
      const error = failing[address];
      if (error === undefined) callback(null, 9816);
      else callback(new Error(error), 0);
    };
    const server = new RpcServer({ address: ':9816', identity: { key: '', certificate: '' }, log });
    await server.start();
    return { tried, port: server.port };
  }

  it('serves IPv4 alone on a machine without IPv6', async () => {
    expect(await start({})).toStrictEqual({ tried: ['[::]:9816'], port: 9816 });
    expect(await start({ '[::]:9816': NO_IPV6 })).toStrictEqual({ tried: ['[::]:9816', '0.0.0.0:9816'], port: 9816 });
  });

  it('does not when another program has the port', async () => {
    await expect(start({ '[::]:9816': IN_USE })).rejects.toThrow('EADDRINUSE');
    await expect(start({ '[::]:9816': NO_IPV6, '0.0.0.0:9816': IN_USE })).rejects.toThrow('EADDRINUSE');
  });
});
