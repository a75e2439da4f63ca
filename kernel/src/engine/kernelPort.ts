/** @file The engine's private socket for its kernel: requests in, replies, panel states and notices out. */
import { createServer } from 'node:net';
import type { Socket } from 'node:net';
import type { PanelState } from '@ravenlab/protocol';
import { ENGINE_LIMITS, FrameSocket, RavenError, toWireError } from '@ravenlab/protocol';
import type { Notice, ToEngine, ToKernel } from './kernelWire.js';
import { KERNEL_SOCKET, decodeKernelMessage, encodeKernelMessage } from './kernelWire.js';

type Hello = Extract<ToEngine, { kind: 'hello' }>;

export interface KernelPortHandlers {
  /** Somebody introduces himself. Answered by 'welcome', the connection is the kernel's from then on. */
  onHello(message: Hello): Extract<ToKernel, { kind: 'welcome' | 'busy' }>;
  /** The kernel's connection ended. */
  onGone(): void;
  onMessage(message: Exclude<ToEngine, Hello>): void;
  /** A message that is none of ours, which is ignored, or a connection that broke. */
  onUnreadable(error: Error): void;
  /** The socket failed, or a mistake of ours came to light. */
  onFatal(error: unknown): void;
}

export class KernelPort {
  private readonly server = createServer((socket) => {
    this.accept(socket);
  });
  private readonly handlers: KernelPortHandlers;
  private readonly connections = new Set<FrameSocket>();
  /** Who was welcomed last. */
  private kernel: FrameSocket | null = null;

  constructor(handlers: KernelPortHandlers) {
    this.handlers = handlers;
  }

  /** @param path of the unix-domain socket, in a folder that only its owner may enter. */
  async listen(path: string): Promise<void> {
    const { server } = this;
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject);
      server.listen(path, () => {
        server.off('error', reject);
        resolve();
      });
    });
    server.on('error', (error) => {
      this.handlers.onFatal(error);
    });
  }

  reply(id: number, reply: Extract<ToKernel, { kind: 'reply' }>['reply']): void {
    try {
      this.send({ kind: 'reply', id, reply });
    } catch (error) {
      // Above the bounds of a message: whoever asked is told so.
      this.fail(id, error);
    }
  }

  fail(id: number, error: unknown): void {
    const meta = error instanceof RavenError ? error.meta : {};
    this.send({ kind: 'failed', id, error: toWireError(error), meta });
  }

  /** A state says all there is: one that the kernel has no room for is left out for a later one. */
  panel(state: PanelState): void {
    if ((this.kernel?.queuedBytes ?? 0) > ENGINE_LIMITS.kernelQueueBytes) return;
    this.send({ kind: 'panel', state });
  }

  durable(watermark: number): void {
    this.send({ kind: 'durable', watermark });
  }

  rewinding(): void {
    this.send({ kind: 'rewinding' });
  }

  notice(notice: Notice): void {
    this.send({ kind: 'notice', notice });
  }

  close(): void {
    this.server.close();
    for (const connection of this.connections) connection.close();
  }

  /** A kernel that is gone gets nothing; its side of the process tells. */
  private send(message: ToKernel): void {
    this.kernel?.send(encodeKernelMessage(message));
  }

  private accept(socket: Socket): void {
    const connection: FrameSocket = new FrameSocket(
      socket,
      {
        onMessage: (frames) => {
          this.take(connection, frames);
        },
        onClose: (error) => {
          this.connections.delete(connection);
          if (error !== null) this.handlers.onUnreadable(error);
          if (this.kernel !== connection) return;
          this.kernel = null;
          this.handlers.onGone();
        },
      },
      { ...KERNEL_SOCKET, pauseAboveBytes: ENGINE_LIMITS.kernelQueueBytes },
    );
    this.connections.add(connection);
  }

  private welcome(connection: FrameSocket, message: Hello): void {
    const answer = this.handlers.onHello(message);
    if (answer.kind === 'welcome') {
      const { kernel } = this;
      this.kernel = connection;
      if (kernel !== connection) kernel?.close();
    }
    connection.send(encodeKernelMessage(answer));
  }

  private take(connection: FrameSocket, frames: Uint8Array[]): void {
    let message: ToEngine;
    try {
      message = decodeKernelMessage(frames) as ToEngine;
    } catch (error) {
      this.handlers.onUnreadable(error instanceof Error ? error : new Error(String(error)));
      return;
    }
    try {
      if (message.kind === 'hello') this.welcome(connection, message);
      else if (connection === this.kernel) this.handlers.onMessage(message);
    } catch (error) {
      this.handlers.onFatal(error);
    }
  }
}
