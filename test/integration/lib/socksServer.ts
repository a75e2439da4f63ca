/** @file A SOCKS5 server (RFC 1928) that knows CONNECT without authentication, and remembers what it was asked for. */
import { once } from 'node:events';
import { connect, createServer } from 'node:net';
import type { AddressInfo, Socket } from 'node:net';

const VERSION = 5;
const CONNECT = 1;
const BY_ADDRESS = 1;
const BY_NAME = 3;
const GRANTED = Buffer.from([VERSION, 0, 0, BY_ADDRESS, 0, 0, 0, 0, 0, 0]);
const REFUSED = Buffer.from([VERSION, 5, 0, BY_ADDRESS, 0, 0, 0, 0, 0, 0]);

export class SocksServer {
  /** `host:port` of every request, in order. */
  readonly requests: string[] = [];
  /** Bytes that went through it, both ways. */
  bytes = 0;
  private readonly sockets = new Set<Socket>();
  private readonly server = createServer((socket) => {
    this.sockets.add(socket);
    socket.on('error', () => undefined);
    void this.serve(socket);
  });
  private readonly names: Readonly<Record<string, string>>;

  /** @param names what the server resolves, and nobody else can. */
  private constructor(names: Readonly<Record<string, string>>) {
    this.names = names;
  }

  static async open(names: Readonly<Record<string, string>> = {}): Promise<SocksServer> {
    const socks = new SocksServer(names);
    socks.server.listen(0, '127.0.0.1');
    await once(socks.server, 'listening');
    return socks;
  }

  get address(): string {
    return `127.0.0.1:${String((this.server.address() as AddressInfo).port)}`;
  }

  close(): void {
    this.server.close();
    for (const socket of this.sockets) socket.destroy();
  }

  private async serve(client: Socket): Promise<void> {
    // Methods, then the request: each comes whole from a peer on this machine.
    await once(client, 'data');
    client.write(Buffer.from([VERSION, 0]));
    const [request] = (await once(client, 'data')) as [Buffer];
    const kind = request[3];
    const isName = kind === BY_NAME;
    const length = isName ? (request[4] ?? 0) : 4;
    const at = isName ? 5 : 4;
    const raw = request.subarray(at, at + length);
    const host = isName ? raw.toString('latin1') : [...raw].join('.');
    const port = request.readUInt16BE(at + length);
    this.requests.push(`${host}:${String(port)}`);
    const isConnect = request[1] === CONNECT && (isName || kind === BY_ADDRESS);
    const target = connect({ host: this.names[host] ?? host, port });
    target.on('error', () => client.end(REFUSED));
    if (!isConnect) target.destroy(new Error('only CONNECT is known'));
    await once(target, 'connect');
    this.sockets.add(target);
    client.write(GRANTED);
    for (const [from, to] of [
      [client, target],
      [target, client],
    ] as const) {
      from.on('data', (bytes: Buffer) => {
        this.bytes += bytes.length;
        to.write(bytes);
      });
      from.on('close', () => to.destroy());
    }
  }
}
