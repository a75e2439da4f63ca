/** @file What the engine's loop and its gate thread say to each other. Bytes of connections are not in it: they go by a socket. */

/** A connection of another machine; counts up within one gate. */
export type ConnectionId = number;

export type ToGate =
  /** Its bytes go to and come from the unix socket at `path`. */
  | { readonly kind: 'route'; readonly connection: ConnectionId; readonly path: string }
  /** A worker: no deadline any more, and more may be under way. */
  | { readonly kind: 'member'; readonly connection: ConnectionId }
  /** So much of it has arrived as whole messages. */
  | {
      readonly kind: 'took';
      readonly connection: ConnectionId;
      readonly bytes: number;
      readonly frames: number;
    }
  /** Reads nothing more of it, and ends it once what was said to it has left. */
  | { readonly kind: 'cut'; readonly connection: ConnectionId };

export type FromGate =
  | { readonly kind: 'listening'; readonly port: number }
  | { readonly kind: 'failed'; readonly message: string }
  /** It begins like a ZMTP peer; it waits for its route. */
  | { readonly kind: 'opened'; readonly connection: ConnectionId; readonly address: string }
  /** It is read no further until something of it is taken: as much is under way as may be. */
  | { readonly kind: 'held'; readonly connection: ConnectionId }
  | { readonly kind: 'closed'; readonly connection: ConnectionId };

export interface GateThreadData {
  readonly host: string;
  /** 0 lets the system choose. */
  readonly port: number;
}
