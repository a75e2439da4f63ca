/** @file What the engine knows of a connection: an opaque peer that sends and receives frames. Knows no sockets, and no messages. */

/** One connection, for as long as it lasts; a worker that reconnects is another peer. */
export interface Peer {
  readonly key: string;
  /** Where it came in: only that port's peers can be on this machine for sure. */
  readonly origin: 'local' | 'remote';
  /** The key that the connection is encrypted with, hex: nobody else can have it. Null on a socket that only its owner can open. */
  readonly publicKey: string | null;
  /** Queues a message. False when the peer is gone. Frames must not change until the peer has answered. */
  send(frames: readonly Uint8Array[]): boolean;
  /** It may stay, and may send more at a time. */
  admit(): void;
  /**
   * Ends the connection once what was sent has left: nothing more comes from it, not even onClose. False where that is left to the
   * peer, which is a process of ours.
   */
  cut(): boolean;
}

export interface PortHandlers {
  onOpen(peer: Peer): void;
  /** Frames may be memory that is used again once this returns. */
  onMessage(peer: Peer, frames: Uint8Array[]): void;
  /** The connection is gone; nothing more comes from it. A RemoteProtocolError says that the port cut it. */
  onClose(peer: Peer, error?: Error | null): void;
  /** The port receives nothing any more. */
  onError(error: Error): void;
}
