/**
 * @file The way in for other machines: accepts connections, looks at how each begins, and passes its bytes on to a unix socket of its
 * own. Bounds what each may have under way; knows no keys and no messages. Runs on a thread of its own.
 */
import { connect, createServer } from 'node:net';
import type { Socket } from 'node:net';
import { GATE_LIMITS } from '@ravenlab/protocol/limits';
import { Doorman, callerOf } from './doorman.js';
import type { ConnectionId, FromGate, ToGate } from './gateMessages.js';
import { Passage } from './passage.js';

export interface GateOptions {
  readonly host: string;
  /** 0 lets the system choose. */
  readonly port: number;
  readonly now: () => number;
  readonly say: (message: FromGate) => void;
}

export class Gate {
  private readonly options: GateOptions;
  private readonly doorman = new Doorman();
  private readonly passages = new Map<ConnectionId, Passage>();
  /** Those that are no worker's yet, oldest first. */
  private readonly strangers = new Set<Passage>();
  private readonly server = createServer({ noDelay: true }, (socket) => {
    this.accept(socket);
  });
  private nextId = 1;

  constructor(options: GateOptions) {
    this.options = options;
  }

  listen(): void {
    const { host, port, say } = this.options;
    this.server.on('error', (error) => {
      say({ kind: 'failed', message: error.message });
    });
    this.server.listen({ host, port }, () => {
      const address = this.server.address();
      const chosen = typeof address === 'object' && address !== null ? address.port : port;
      say({ kind: 'listening', port: chosen });
    });
  }

  take(message: ToGate): void {
    const passage = this.passages.get(message.connection);
    // It has ended meanwhile, and that was said.
    if (passage === undefined) return;
    switch (message.kind) {
      case 'route':
        passage.route(connect(message.path));
        return;
      case 'member':
        this.settle(passage);
        passage.admit();
        return;
      case 'took':
        passage.took(message);
        return;
      case 'cut':
        passage.cut();
        return;
    }
  }

  close(): void {
    this.server.close();
    for (const passage of [...this.passages.values()]) passage.destroy();
  }

  private accept(socket: Socket): void {
    const { now, say } = this.options;
    const address = callerOf(socket.remoteAddress ?? '');
    if (!this.doorman.arrive(address, now())) {
      socket.resetAndDestroy();
      return;
    }
    if (this.strangers.size >= GATE_LIMITS.strangers && !this.makeRoom(address)) {
      this.doorman.settle(address);
      socket.resetAndDestroy();
      return;
    }
    const id = this.nextId++;
    const passage = new Passage(socket, {
      now,
      onGreeted: () => {
        say({ kind: 'opened', connection: id, address: socket.remoteAddress ?? '' });
      },
      onHeld: () => {
        say({ kind: 'held', connection: id });
      },
      onClosed: (wasGreeted) => {
        this.settle(passage);
        this.passages.delete(id);
        if (wasGreeted) say({ kind: 'closed', connection: id });
      },
    });
    passage.address = address;
    this.passages.set(id, passage);
    this.strangers.add(passage);
  }

  /** Ends the oldest stranger of the address that has the most of them, unless that is who asks. */
  private makeRoom(address: string): boolean {
    const busiest = this.doorman.busiest();
    if (busiest === null) return false;
    if (this.doorman.waiting(busiest) <= this.doorman.waiting(address)) return false;
    for (const stranger of this.strangers) {
      if (stranger.address !== busiest) continue;
      stranger.destroy();
      return true;
    }
    return false;
  }

  private settle(passage: Passage): void {
    if (this.strangers.delete(passage)) this.doorman.settle(passage.address);
  }
}
