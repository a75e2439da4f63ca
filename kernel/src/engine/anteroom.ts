/**
 * @file Workers on their way from HELLO to the first lease: they prove whose wallet they name, hear the terms and accept them.
 * Nobody here is a member yet, and the scheduler does not know them. RFC 1 §3.1.
 */
import { randomBytes } from 'node:crypto';
import type {
  AcceptMessage,
  Address,
  ByeReason,
  Hash32,
  HelloMessage,
  IdentifyMessage,
  JobId,
  PresentedMessage,
  WorkerToEngine,
} from '@ravenlab/protocol';
import { LIMITS, RemoteProtocolError, encodeEngineMessage, z85ToHex } from '@ravenlab/protocol';
import type { HelloClaim } from './chain/chainService.js';
import type { DealDesk } from './dealDesk.js';
import type { WorkerSession } from './session.js';
import type { Peer } from './transport.js';

export interface AnteroomOptions {
  readonly desk: DealDesk;
  /** The engine's CURVE public key, Z85. */
  readonly serverKey: () => string;
  readonly now: () => number;
  readonly wallMs: () => number;
  /** Says WELCOME. */
  readonly greet: (peer: Peer, hello: HelloMessage) => WorkerSession;
  /** Makes it a member. */
  readonly join: (session: WorkerSession) => void;
  readonly refuse: (peer: Peer, reason: ByeReason, message: string) => void;
  readonly log: (text: string) => void;
}

type Stage =
  | { readonly kind: 'challenged'; readonly claim: Omit<HelloClaim, 'clientKey'> }
  /** The nonce is used, the signature is being looked at. */
  | { readonly kind: 'checked' }
  | { readonly kind: 'dealing'; readonly session: WorkerSession; readonly payee: Address };

interface Guest {
  readonly peer: Peer;
  readonly hello: HelloMessage;
  readonly invite: string | null;
  stage: Stage;
  /** The job of the terms that it was told last. */
  job: JobId | null;
  timer: NodeJS.Timeout;
  pings: NodeJS.Timeout | null;
}

export class Anteroom {
  private readonly options: AnteroomOptions;
  private readonly guests = new Map<string, Guest>();

  constructor(options: AnteroomOptions) {
    this.options = options;
  }

  /** @returns false when there is nothing to prove: it names no wallet, or nobody is paid. */
  enter(peer: Peer, hello: HelloMessage, invite: string | null): boolean {
    this.leave(peer);
    const { desk, serverKey, wallMs } = this.options;
    const domain = desk.domain();
    if (hello.payee === null || domain === null) return false;
    const nonce = `0x${randomBytes(32).toString('hex')}` as Hash32;
    const expiry = Math.ceil((wallMs() + LIMITS.challengeMs) / 1000);
    const claim = { wallet: hello.payee, serverKey: serverKey(), nonce, expiry };
    const timer = setTimeout(() => {
      this.turnAway(peer, `no IDENTIFY within ${String(LIMITS.challengeMs)} ms`);
    }, LIMITS.challengeMs);
    const stage: Stage = { kind: 'challenged', claim };
    this.guests.set(peer.key, { peer, hello, invite, stage, job: null, timer, pings: null });
    const challenge = { nonce, expiry, serverKey: claim.serverKey, ...domain };
    peer.send(encodeEngineMessage({ kind: 'challenge', ...challenge }));
    return true;
  }

  holds(peer: Peer): boolean {
    return this.guests.has(peer.key);
  }

  /** @throws RemoteProtocolError for what a guest has no business saying. */
  take(peer: Peer, message: Exclude<WorkerToEngine, HelloMessage>): void {
    const guest = this.guests.get(peer.key);
    if (guest === undefined) return;
    switch (message.kind) {
      case 'identify':
        this.identify(guest, message);
        return;
      case 'presented':
        this.presented(guest, message);
        return;
      case 'accept':
        this.accept(guest, message);
        return;
      case 'bye':
        this.leave(peer);
        return;
      case 'error':
        this.options.log(`worker ${guest.hello.workerId.slice(0, 8)}: ${message.error.message}`);
        return;
      case 'pong':
      case 'credit':
        return;
      default:
        throw new RemoteProtocolError(`${message.kind} before ACCEPT`, { kind: message.kind });
    }
  }

  /** Tells those who wait on this payee its terms, which have changed. */
  offer(payee: Address): void {
    for (const guest of this.guests.values()) {
      if (guest.stage.kind === 'dealing' && guest.stage.payee === payee) this.tellTerms(guest);
    }
  }

  /** Those that came by this invite. */
  guestsOf(invite: string): Peer[] {
    const guests = [...this.guests.values()];
    return guests.filter((guest) => guest.invite === invite).map(({ peer }) => peer);
  }

  leave(peer: Peer): void {
    const guest = this.guests.get(peer.key);
    if (guest === undefined) return;
    this.guests.delete(peer.key);
    clearTimeout(guest.timer);
    if (guest.pings !== null) clearInterval(guest.pings);
  }

  close(): void {
    for (const { peer } of [...this.guests.values()]) this.leave(peer);
  }

  private identify(guest: Guest, { signature, clientKey }: IdentifyMessage): void {
    const { stage, peer, hello } = guest;
    if (stage.kind !== 'challenged') throw new RemoteProtocolError('IDENTIFY answers no CHALLENGE');
    guest.stage = { kind: 'checked' };
    if (z85ToHex(clientKey) !== hello.workerId) {
      this.turnAway(peer, "IDENTIFY names another connection's key than HELLO");
      return;
    }
    this.options.desk
      .isHello({ ...stage.claim, clientKey }, signature)
      .then((isSigned) => {
        // It may have gone, or begun anew, meanwhile.
        if (this.guests.get(peer.key) !== guest || guest.stage.kind !== 'checked') return;
        if (isSigned) this.deal(guest, stage.claim.wallet);
        else this.turnAway(peer, `this is no signature of ${stage.claim.wallet} for this engine`);
      })
      .catch((error: unknown) => {
        if (this.guests.get(peer.key) !== guest) return;
        this.options.log(`a wallet could not be checked: ${String(error)}`);
        this.options.refuse(peer, 'expelled', 'your wallet could not be checked; try again');
      });
  }

  private deal(guest: Guest, payee: Address): void {
    const { peer, hello } = guest;
    const session = this.options.greet(peer, hello);
    session.payee = payee;
    guest.stage = { kind: 'dealing', session, payee };
    clearTimeout(guest.timer);
    guest.timer = setTimeout(() => {
      this.turnAway(peer, `no ACCEPT within ${String(LIMITS.acceptMs)} ms`);
    }, LIMITS.acceptMs);
    // The scheduler pings members only, and a worker that hears nothing takes the engine for gone.
    guest.pings = setInterval(() => {
      session.ping(this.options.now());
    }, LIMITS.heartbeatMs);
    this.options.desk.arrived({ worker: hello.workerId, payee });
    this.tellTerms(guest);
  }

  private tellTerms(guest: Guest): void {
    if (guest.stage.kind !== 'dealing') return;
    const terms = this.options.desk.terms(guest.stage.payee);
    if (terms === null) return;
    guest.job = terms.job;
    guest.stage.session.send({ kind: 'terms', ...terms });
  }

  private presented(guest: Guest, { voucher }: PresentedMessage): void {
    const { stage, job, hello } = guest;
    if (stage.kind !== 'dealing' || job === null) {
      throw new RemoteProtocolError('PRESENTED answers no TERMS');
    }
    if (voucher !== null && voucher.payee !== stage.payee) {
      throw new RemoteProtocolError(`PRESENTED holds a voucher of ${voucher.payee}`);
    }
    const { payee } = stage;
    this.options.desk.presented({ worker: hello.workerId, payee }, voucher);
  }

  private accept(guest: Guest, { job }: AcceptMessage): void {
    const { stage, peer } = guest;
    if (stage.kind !== 'dealing' || guest.job === null) {
      throw new RemoteProtocolError('ACCEPT answers no TERMS');
    }
    // Of the terms before: those of now are on their way.
    if (job !== guest.job) return;
    this.leave(peer);
    stage.session.job = job;
    this.options.join(stage.session);
  }

  private turnAway(peer: Peer, message: string): void {
    this.options.refuse(peer, 'refused', message);
  }
}
