/** @file The way in for other machines: a CURVE key pair, a port, and the invites that name both. Opened on the first invite. */
import * as zmq from 'zeromq';
import { encodeInvite } from '@ravenlab/protocol';
import { Doorman } from './gate/doorman.js';
import { RemotePort } from './gate/remotePort.js';
import type { SavedInvite } from './invites.js';
import { DEFAULT_INVITE, InviteBook } from './invites.js';
import type { PortHandlers } from './transport.js';

/** What makes invites valid in a later life of the engine; a secret. */
interface SavedAccess {
  readonly port: number;
  readonly publicKey: string;
  readonly secretKey: string;
  readonly invites: readonly SavedInvite[];
}

/** As it was saved while there was one invite. */
interface SingleAccess extends Omit<SavedAccess, 'invites'> {
  readonly token: string;
}

export interface RemoteAccessOptions {
  /** Address to bind and to put into invites; the loopback address keeps strangers out. */
  readonly host: string;
  /** For sockets; nobody else may enter it. */
  readonly folder: string;
  /** As an earlier life of this engine saved it, or null. */
  readonly saved: string | null;
  /** Resolves when `text` is on the disk. */
  readonly save: (text: string) => Promise<unknown>;
  readonly now: () => number;
  readonly wallMs: () => number;
}

/** An invite for its maker to see; a secret. */
export interface InviteText {
  readonly name: string;
  readonly text: string;
  readonly createdMs: number;
  readonly expiresMs: number | null;
}

export class RemoteAccess {
  private readonly handlers: PortHandlers;
  private readonly options: RemoteAccessOptions;
  private readonly keys: { readonly publicKey: string; readonly secretKey: string };
  private readonly book: InviteBook;
  /** Handshakes by key; who has many addresses has one key, or pays for a new one each time. */
  private readonly keyDoor = new Doorman();
  /** Null as long as nobody was ever invited. */
  private chosenPort: number | null;
  private opening: Promise<number> | null = null;
  private port: RemotePort | null = null;

  constructor(handlers: PortHandlers, options: RemoteAccessOptions) {
    this.handlers = handlers;
    this.options = options;
    const saved = options.saved === null ? null : readSaved(options.saved);
    this.chosenPort = saved?.port ?? null;
    this.keys = saved ?? zmq.curveKeyPair();
    this.book = new InviteBook(saved?.invites ?? [], options.wallMs);
  }

  /** CURVE public key that invites name, Z85. */
  get serverKey(): string {
    return this.keys.publicKey;
  }

  /**
   * Listens again where an earlier life of this engine did, so that its workers come back by themselves. Rejects when the port
   * is another process's by now.
   */
  async reopen(): Promise<void> {
    if (this.chosenPort !== null) await this.listening();
  }

  /**
   * The invite of this name; the first one opens the port. Resolves when it is on the disk.
   * @param expiresMs wall clock; null never ends, left out leaves it as it is. Rejects with RavenError for what cannot be.
   */
  async invite(name: string = DEFAULT_INVITE, expiresMs?: number | null): Promise<InviteText> {
    const invite = this.book.issue(name, expiresMs);
    const port = await this.listening();
    await this.save(port);
    return this.textOf(invite, port);
  }

  /** All that were made and not withdrawn, oldest first. */
  async invites(): Promise<InviteText[]> {
    const all = this.book.all();
    if (all.length === 0) return [];
    const port = await this.listening();
    return all.map((invite) => this.textOf(invite, port));
  }

  /** Withdraws an invite; whom it let in is for the caller to end. Resolves with false when there was none, else on the disk. */
  async revoke(name: string): Promise<boolean> {
    if (!this.book.revoke(name)) return false;
    if (this.chosenPort !== null) await this.save(this.chosenPort);
    return true;
  }

  /** The name of the invite that admits this token; null when none does. Takes as long for every token. */
  admits(token: string): string | null {
    return this.book.nameOf(token);
  }

  close(): void {
    this.port?.close();
  }

  private listening(): Promise<number> {
    this.opening ??= this.open();
    // The next one who asks gets a new try.
    this.opening.catch(() => (this.opening = null));
    return this.opening;
  }

  private async open(): Promise<number> {
    const { host, folder } = this.options;
    const remote = new RemotePort({
      ...{ handlers: this.handlers, curve: this.keys, host, folder },
      mayEnter: (publicKey) => this.mayEnter(publicKey),
    });
    try {
      this.chosenPort = await remote.listen(this.chosenPort ?? 0);
      this.port = remote;
      return this.chosenPort;
    } catch (error) {
      remote.close();
      throw error;
    }
  }

  private mayEnter(publicKey: string): boolean {
    const isRare = this.keyDoor.arrive(publicKey, this.options.now());
    if (isRare) this.keyDoor.settle(publicKey);
    return isRare;
  }

  private async save(port: number): Promise<void> {
    const access: SavedAccess = { port, ...this.keys, invites: this.book.all() };
    await this.options.save(JSON.stringify(access));
  }

  private textOf({ name, token, createdMs, expiresMs }: SavedInvite, port: number): InviteText {
    const { host } = this.options;
    const text = encodeInvite({ host, port, serverKey: this.keys.publicKey, token });
    return { name, text, createdMs, expiresMs };
  }
}

function readSaved(text: string): SavedAccess {
  const saved = JSON.parse(text) as SavedAccess | SingleAccess;
  if ('invites' in saved) return saved;
  const { port, publicKey, secretKey, token } = saved;
  const invite = { name: DEFAULT_INVITE, token, createdMs: 0, expiresMs: null };
  return { port, publicKey, secretKey, invites: [invite] };
}
