/** @file The engine's port for workers on this machine: a unix-domain socket whose connections are `Peer`s. Knows frames, not messages. */
import { createServer } from 'node:net';
import type { Socket } from 'node:net';
import { ENGINE_LIMITS, FrameSocket, WORKER_BOUNDS } from '@ravenlab/protocol';
import { SharedRing } from './sharedRing.js';
import type { Peer, PortHandlers } from './transport.js';

/** ZeroMQ's way through two more threads each way would cost a small unit more than all the rest of it. */
export class SocketPort {
  private readonly handlers: PortHandlers;
  private readonly server = createServer((socket) => {
    this.accept(socket);
  });
  private readonly connections = new Set<FrameSocket>();
  private accepted = 0;
  private isClosing = false;

  constructor(handlers: PortHandlers) {
    this.handlers = handlers;
    this.server.maxConnections = ENGINE_LIMITS.members + ENGINE_LIMITS.strangers;
  }

  /** @param path of the socket, in a folder that only its owner may enter. */
  async listen(path: string): Promise<void> {
    const { server, handlers } = this;
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject);
      server.listen(path, () => {
        server.off('error', reject);
        resolve();
      });
    });
    server.on('error', (error) => {
      handlers.onError(error);
    });
  }

  close(): void {
    this.isClosing = true;
    this.server.close();
    for (const connection of this.connections) connection.close();
  }

  private accept(socket: Socket): void {
    const { handlers } = this;
    const guarded = (act: () => void): void => {
      try {
        act();
      } catch (error) {
        handlers.onError(error instanceof Error ? error : new Error(String(error)));
      }
    };
    const borrows = new SharedRing();
    const connection = new FrameSocket(
      socket,
      {
        onMessage: (frames) => {
          guarded(() => {
            handlers.onMessage(peer, frames);
          });
        },
        onClose: (error) => {
          this.connections.delete(connection);
          borrows.close();
          if (this.isClosing) return;
          guarded(() => {
            handlers.onClose(peer, error);
          });
        },
      },
      {
        ...{ bounds: WORKER_BOUNDS, memory: 'lent', borrows },
        later: (callback) => process.nextTick(callback),
      },
    );
    this.connections.add(connection);
    const peer: Peer = {
      key: `local:${String(++this.accepted)}`,
      origin: 'local',
      publicKey: null,
      send: (frames) => {
        if (!this.connections.has(connection)) return false;
        connection.send(frames);
        return true;
      },
      // Our own processes: they go when they are told.
      admit: () => undefined,
      cut: () => false,
    };
    handlers.onOpen(peer);
  }
}
