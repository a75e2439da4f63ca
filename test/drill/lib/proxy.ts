/**
 * @file A TCP proxy that can cut a link as a bad network does: bytes stop, connections stay. Nothing is thrown away, as
 * nothing is in a partition that TCP survives; `forget` is the box in between that lost its table.
 */
import { createConnection, createServer } from 'node:net';
import type { AddressInfo, Server, Socket } from 'node:net';

/** Directions in which bytes do not pass. */
export type Cut = 'none' | 'toEngine' | 'toWorker' | 'both';

interface Link {
  readonly worker: Socket;
  /** Null while the link is cut: a SYN that nobody answers. */
  engine: Socket | null;
  /** Its table entry is lost: no byte passes any more, in neither direction, and nobody is told. */
  isForgotten: boolean;
}

export class Proxy {
  private readonly server: Server;
  private readonly target: { readonly host: string; readonly port: number };
  private readonly links = new Set<Link>();
  private cutNow: Cut = 'none';

  private constructor(target: { readonly host: string; readonly port: number }) {
    this.target = target;
    this.server = createServer({ pauseOnConnect: true }, (socket) => {
      this.accept(socket);
    });
  }

  /** Listens on a free port of the loopback address. */
  static async open(target: { readonly host: string; readonly port: number }): Promise<Proxy> {
    const proxy = new Proxy(target);
    await new Promise<void>((resolve, reject) => {
      proxy.server.once('error', reject);
      proxy.server.listen(0, '127.0.0.1', resolve);
    });
    return proxy;
  }

  get port(): number {
    return (this.server.address() as AddressInfo).port;
  }

  get connections(): number {
    return this.links.size;
  }

  /** Stops bytes in these directions, of links that are and of links that come. */
  cut(directions: Cut): void {
    this.cutNow = directions;
    for (const link of this.links) this.apply(link);
  }

  /** Bytes pass again, those that waited first. */
  heal(): void {
    this.cut('none');
  }

  /** Links that are now stay silent for good, and neither side hears of an end; new ones work: a half-open connection. */
  forget(): void {
    for (const link of this.links) {
      link.isForgotten = true;
      this.apply(link);
    }
  }

  async close(): Promise<void> {
    for (const { worker, engine } of this.links) {
      worker.destroy();
      engine?.destroy();
    }
    await new Promise<void>((resolve) => {
      this.server.close(() => {
        resolve();
      });
    });
  }

  private accept(worker: Socket): void {
    worker.setNoDelay(true);
    const link: Link = { worker, engine: null, isForgotten: false };
    this.links.add(link);
    this.watch(link, worker, () => link.engine);
    this.apply(link);
  }

  private watch(link: Link, socket: Socket, other: () => Socket | null): void {
    socket.on('error', () => {
      // 'close' follows and tells the other side.
    });
    socket.on('data', (bytes: Buffer) => {
      const peer = other();
      if (peer === null || peer.destroyed) return;
      if (!peer.write(bytes)) {
        socket.pause();
        peer.once('drain', () => {
          this.apply(link);
        });
      }
    });
    socket.on('close', () => {
      if (!this.links.has(link) || link.isForgotten) return;
      this.links.delete(link);
      other()?.destroy();
    });
  }

  /** Makes both ends do what the cut says. */
  private apply(link: Link): void {
    const { worker } = link;
    const cut: Cut = link.isForgotten ? 'both' : this.cutNow;
    if (cut === 'none' && link.engine === null && !worker.destroyed) {
      const engine = createConnection(this.target);
      engine.setNoDelay(true);
      link.engine = engine;
      this.watch(link, engine, () => worker);
    }
    if (cut === 'both' || cut === 'toEngine' || link.engine === null) worker.pause();
    else worker.resume();
    if (cut === 'both' || cut === 'toWorker') link.engine?.pause();
    else link.engine?.resume();
  }
}
