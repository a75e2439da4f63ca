/**
 * @file All workers' connections: who is who, what they say as events for the scheduler, and what the scheduler says to
 * them. Hostile input ends here: a message that breaks the protocol costs its sender the connection and nobody else.
 */
import type {
  Address,
  ByeReason,
  DoneUnit,
  HelloMessage,
  LeaseId,
  ResultMessage,
  WorkerId,
  WorkerToEngine,
} from '@ravenlab/protocol';
import {
  ENGINE_LIMITS,
  LIMITS,
  RemoteProtocolError,
  decodeWorkerMessage,
  encodeEngineMessage,
  messageBytes,
  totalBytes,
} from '@ravenlab/protocol';
import type { UnitResult } from '../core/cluster/events.js';
import { BANNED } from '../core/cluster/members.js';
import type { Resource } from '../core/cluster/state.js';
import { Anteroom } from './anteroom.js';
import type { Departure, HubOptions } from './hubOptions.js';
import type { NeedRef } from './session.js';
import { WorkerSession } from './session.js';
import type { Peer, PortHandlers } from './transport.js';

type Kind = WorkerToEngine['kind'];
type MessageOf<K extends Kind> = Extract<WorkerToEngine, { kind: K }>;
type Readers = {
  readonly [K in Exclude<Kind, 'hello'>]: (session: WorkerSession, message: MessageOf<K>) => void;
};

export class WorkerHub implements PortHandlers {
  private readonly options: HubOptions;
  /** Connected and not introduced. */
  private readonly strangers = new Map<string, NodeJS.Timeout>();
  /** Told to go; whatever they still send is thrown away unread. */
  private readonly banned = new Set<string>();
  private readonly anteroom: Anteroom;
  private readonly byPeer = new Map<string, WorkerSession>();
  private readonly byWorker = new Map<WorkerId, WorkerSession>();
  /** The last workers that left, oldest first: when it was known, and why. */
  readonly departures: Departure[] = [];
  badMessages = 0;
  /** Of all messages, from everybody. */
  receivedBytes = 0;

  constructor(options: HubOptions) {
    this.options = options;
    this.anteroom = new Anteroom({
      ...{ desk: options.desk, serverKey: options.serverKey, log: options.log },
      ...{ now: options.now, wallMs: options.wallMs },
      greet: (peer, hello) => this.greet(peer, hello),
      join: (session) => {
        // Others may have come, or gone, while it read the chain.
        if (this.mayJoin(session.peer, session.hello)) this.join(session);
      },
      refuse: (peer, reason, message) => {
        this.refuse(peer, reason, message);
      },
    });
  }

  session(worker: WorkerId): WorkerSession | undefined {
    return this.byWorker.get(worker);
  }

  sessions(): IterableIterator<WorkerSession> {
    return this.byWorker.values();
  }

  /** States that were being written are there, or never will be. */
  resume(): void {
    for (const session of this.byWorker.values()) session.resume();
  }

  onOpen(peer: Peer): void {
    if (this.strangers.size >= ENGINE_LIMITS.strangers) {
      this.refuse(peer, 'expelled', 'too many connections wait for admission; try again');
      return;
    }
    const timer = setTimeout(() => {
      this.refuse(peer, 'protocol', `no HELLO within ${String(LIMITS.helloTimeoutMs)} ms`);
    }, LIMITS.helloTimeoutMs);
    this.strangers.set(peer.key, timer);
  }

  onMessage(peer: Peer, frames: Uint8Array[]): void {
    if (this.banned.has(peer.key)) return;
    this.receivedBytes += messageBytes(frames);
    const decoded = decodeWorkerMessage(frames);
    try {
      if (!decoded.ok) throw decoded.error;
      this.take(peer, decoded.value);
    } catch (error) {
      if (!(error instanceof RemoteProtocolError)) throw error;
      this.badMessages++;
      this.options.log(`${peer.key} broke the protocol: ${error.message}`);
      // A worker of another release is told to update; it has done nothing wrong.
      const isOtherVersion = error.meta['wireVersion'] !== undefined;
      this.refuse(peer, isOtherVersion ? 'version' : 'protocol', error.message);
    }
  }

  onClose(peer: Peer, error: Error | null = null): void {
    if (error instanceof RemoteProtocolError) {
      this.badMessages++;
      this.options.log(`${peer.key} broke the framing: ${error.message}`);
    }
    this.forgetStranger(peer);
    this.anteroom.leave(peer);
    this.banned.delete(peer.key);
    this.lose(peer, 'disconnected');
  }

  onError(error: Error): void {
    this.options.onFatal(error);
  }

  /** Ends a member's session; the scheduler has already forgotten it. It may come back, on another connection. */
  expel(worker: WorkerId, reason: string): void {
    const session = this.byWorker.get(worker);
    if (session === undefined) return;
    this.say(session.peer, 'expelled', reason);
    this.dismiss(session.peer);
    this.detach(session, reason);
  }

  /** The process behind a local connection has ended: what it sent and nobody has read counts as little as what it did not send. */
  processEnded(token: string): void {
    for (const { peer, hello } of this.byWorker.values()) {
      if (peer.origin !== 'local' || hello.token !== token) continue;
      this.dismiss(peer);
      this.lose(peer, 'disconnected');
      return;
    }
  }

  /** The invite was withdrawn: whom it let in goes, and does not come back. @returns how many went. */
  revoke(invite: string): number {
    let count = 0;
    const goes = (peer: Peer): void => {
      count++;
      this.refuse(peer, 'refused', 'the invite that you came by was withdrawn');
    };
    for (const session of [...this.byWorker.values()])
      if (session.invite === invite) goes(session.peer);
    for (const peer of this.anteroom.guestsOf(invite)) goes(peer);
    return count;
  }

  /** Whoever has proved this wallet goes, and does not come back. */
  banish(wallet: Address): void {
    for (const session of [...this.byWorker.values()]) {
      if (session.payee === wallet) this.refuse(session.peer, 'refused', BANNED);
    }
  }

  /** Terms of this payee are there, or have changed; another job begins with another session. */
  offer(payee: Address): void {
    this.anteroom.offer(payee);
    const terms = this.options.desk.terms(payee);
    if (terms === null) return;
    for (const session of [...this.byWorker.values()]) {
      if (session.payee !== payee) continue;
      if (session.job === terms.job) session.send({ kind: 'terms', ...terms });
      else this.startOver(session, 'there is another job to be paid from');
    }
  }

  /** Workers that named a wallet while nobody was paid: they are asked for it now. */
  recall(): void {
    for (const session of [...this.byWorker.values()]) {
      const isUnasked = session.hello.payee !== null && session.payee === null;
      if (isUnasked && session.peer.origin === 'remote')
        this.startOver(session, 'work is paid from now on');
    }
  }

  /** What each one has earned, for its owner to see. */
  tellEarnings(): void {
    for (const session of this.byWorker.values()) {
      const account = this.options.cluster.ledger.accounts.get(session.worker);
      if (account !== undefined) session.meter(account.units, account.posted);
    }
  }

  /** Tells everyone that the engine ends. */
  shutdown(): void {
    this.anteroom.close();
    for (const session of this.byWorker.values())
      this.say(session.peer, 'shutdown', 'the engine ends');
    for (const timer of this.strangers.values()) clearTimeout(timer);
  }

  private take(peer: Peer, message: WorkerToEngine): void {
    if (message.kind === 'hello') {
      this.welcome(peer, message);
      return;
    }
    if (this.anteroom.holds(peer)) {
      this.anteroom.take(peer, message);
      return;
    }
    const session = this.byPeer.get(peer.key);
    if (session === undefined) {
      // After a pause its socket may be connected anew before the worker knows: this belonged to the connection before.
      if (this.strangers.has(peer.key)) return;
      throw new RemoteProtocolError(`${message.kind} before HELLO`, { kind: message.kind });
    }
    const read = this.readers[message.kind] as (
      session: WorkerSession,
      message: WorkerToEngine,
    ) => void;
    read(session, message);
  }

  private readonly readers: Readers = {
    need: (session, message) => {
      const find = (ref: NeedRef) => this.options.findResource(ref)?.id;
      const resources = session.resourcesOf(message, find);
      this.options.feed({ kind: 'need', worker: session.worker, resources });
    },
    making: (session, { execution }) => {
      this.options.onMaking(session, execution);
    },
    unmade: (session, { execution }) => {
      this.options.onUnmade(session, execution);
    },
    result: (session, message) => {
      this.takePieces(session, message);
    },
    done: (session, message) => {
      const { worker } = session;
      const results: UnitResult[] = [];
      const answered = new Set<LeaseId>();
      for (const unit of message.units) {
        this.checkResult(session, unit, answered);
        answered.add(unit.lease);
        results.push(resultOf(unit));
      }
      this.options.feed({ kind: 'done', worker, results }, message);
    },
    credit: (session, message) => {
      session.credit(message.consumedBytes);
      const { worker, inFlightBytes } = session;
      this.options.feed({ kind: 'credit', worker, inFlightBytes });
    },
    pong: (session, message) => {
      const roundTripMs = Math.max(0, this.options.now() - message.sentMs);
      // Below the clock's millisecond is half of one: 0 would mean that nothing is known.
      const latencyUs = Math.min(roundTripMs || 0.5, LIMITS.heartbeatTimeoutMs) * 1000;
      this.options.feed({ kind: 'heard', worker: session.worker, latencyUs });
    },
    error: (session, message) => {
      this.options.log(`worker ${session.worker.slice(0, 8)}: ${message.error.message}`);
      this.options.feed({ kind: 'heard', worker: session.worker, latencyUs: null });
    },
    voucherAck: (session, message) => {
      const { worker, payee } = session;
      if (payee === null) throw unasked(message);
      this.options.desk.acknowledged({ worker, payee }, message);
    },
    // A member has done so already: TERMS that change cap or expiry alone are not answered.
    identify: (_, message) => {
      throw unasked(message);
    },
    accept: (_, message) => {
      throw unasked(message);
    },
    presented: (_, message) => {
      throw unasked(message);
    },
    bye: (session, message) => {
      const { worker } = session;
      if (message.reason === 'drain') this.options.feed({ kind: 'drain', worker });
      else this.lose(session.peer, 'left', true);
    },
  };

  private welcome(peer: Peer, hello: HelloMessage): void {
    this.forgetStranger(peer);
    if (!this.mayJoin(peer, hello)) return;
    const isGuest =
      peer.origin === 'remote' && this.anteroom.enter(peer, hello, this.inviteOf(peer, hello));
    if (!isGuest) this.join(this.greet(peer, hello));
  }

  private inviteOf(peer: Peer, hello: HelloMessage): string | null {
    return this.options.admits(hello, peer)?.invite ?? null;
  }

  /** Reads nothing more of it, and ends its connection where that is ours to end. */
  private dismiss(peer: Peer): void {
    if (!peer.cut()) this.banned.add(peer.key);
  }

  /** Whether it may become a member; when not, it has been told. */
  private mayJoin(peer: Peer, hello: HelloMessage): boolean {
    const refusal = this.refusalOf(peer, hello);
    if (refusal !== null) this.refuse(peer, ...refusal);
    return refusal === null;
  }

  private refusalOf(
    peer: Peer,
    hello: HelloMessage,
  ): readonly [reason: ByeReason, message: string] | null {
    if (peer.publicKey !== null && peer.publicKey !== hello.workerId)
      return ['refused', 'a workerId is the key of its own connection'];
    if (this.options.admits(hello, peer) === null)
      return ['refused', 'this invite is not valid any more; ask for a new one'];
    if (this.options.cluster.standings.get(hello.workerId)?.status === 'banned')
      return ['refused', BANNED];
    if (this.isWalletBanned(hello)) return ['refused', BANNED];
    const known = this.byWorker.get(hello.workerId);
    if (known !== undefined && known.hello.incarnation > hello.incarnation)
      return ['replaced', 'a newer process of this worker has joined'];
    if (known === undefined && this.byWorker.size >= ENGINE_LIMITS.members)
      return ['refused', `this cluster is full: ${String(ENGINE_LIMITS.members)} workers`];
    return null;
  }

  private isWalletBanned({ payee, workerId, name }: HelloMessage): boolean {
    const wallet = payee?.toLowerCase() ?? '';
    const before = this.options.cluster.bannedWallets.get(wallet);
    if (before === undefined) return false;
    this.options.onBannedWallet(
      `A worker was refused: its wallet ${wallet.slice(0, 10)}… is banned with worker ${shortIdOf(before)}, and it came as ${shortIdOf(workerId)} (${name}). cluster.unban('${shortIdOf(before)}') lets it in again.`,
    );
    return true;
  }

  private greet(peer: Peer, hello: HelloMessage): WorkerSession {
    peer.admit();
    const session = new WorkerSession(peer, hello, this.options.resources);
    session.invite = this.inviteOf(peer, hello);
    session.send({
      kind: 'welcome',
      engineId: this.options.engineId,
      workerId: hello.workerId,
      shortId: shortIdOf(hello.workerId),
      heartbeatMs: LIMITS.heartbeatMs,
      timeoutMs: LIMITS.heartbeatTimeoutMs,
      creditWindowBytes: LIMITS.creditWindowBytes,
      chunkBytes: LIMITS.frameBytes,
      price: this.options.price(),
    });
    return session;
  }

  private join(session: WorkerSession): void {
    const { peer, hello } = session;
    const known = this.byWorker.get(hello.workerId);
    if (known !== undefined) {
      if (known.peer.key !== peer.key)
        this.refuse(known.peer, 'replaced', 'this worker joined again');
      this.detach(known, 'replaced');
    }
    this.byPeer.set(peer.key, session);
    this.byWorker.set(hello.workerId, session);
    const held = this.adopt(session);
    this.options.onJoined(session);
    this.options.feed({
      kind: 'joined',
      worker: hello.workerId,
      incarnation: hello.incarnation,
      gflops: hello.capabilities.gflops,
      bitClass: hello.capabilities.bitClass,
      isTrusted: this.options.trusts(peer),
      owner: hello.payee ?? hello.workerId,
      memoryBytes: hello.capabilities.memoryBytes,
      windowBytes: LIMITS.creditWindowBytes,
      held,
    });
  }

  /** It says HELLO again at once, on another connection. */
  private startOver(session: WorkerSession, reason: string): void {
    const { worker, peer } = session;
    this.say(peer, 'expelled', reason);
    this.dismiss(peer);
    this.detach(session, reason);
    this.options.feed({ kind: 'left', worker, reason, isOrderly: true });
  }

  /** What a reconnecting worker still holds of ours; the rest it is told to drop. */
  private adopt(session: WorkerSession): Resource[] {
    const { held } = session.hello;
    if (held === null) return [];
    const isOurs = held.engineId === this.options.engineId;
    const adopted: Resource[] = [];
    const states = held.states.filter((ref) => {
      const resource = isOurs ? this.options.findResource({ kind: 'state', ...ref }) : undefined;
      if (resource !== undefined) adopted.push(resource);
      return resource === undefined;
    });
    const blocks = held.blocks.filter((ref) => {
      const resource = isOurs ? this.options.findResource({ kind: 'block', ...ref }) : undefined;
      if (resource !== undefined) adopted.push(resource);
      return resource === undefined;
    });
    if (states.length + blocks.length > 0) {
      session.send({ kind: 'drop', programs: [], states, data: [], blocks });
    }
    return adopted;
  }

  private takePieces(session: WorkerSession, message: ResultMessage): void {
    for (const chunk of message.chunks) {
      const lease = this.options.cluster.leases.get(chunk.lease);
      if (lease?.worker !== session.worker) continue;
      // Before its memory is used again. Who is not paid commits to nothing.
      if (session.payee !== null) session.digests.piece(chunk);
      this.options.collectorOf(lease.execution.id)?.addPiece(lease.unit.shard, chunk);
    }
    this.options.feed({ kind: 'heard', worker: session.worker, latencyUs: null });
  }

  /**
   * A result that will count must be of the size that its program makes.
   * @param answered leases that the same message has answered already.
   */
  private checkResult(
    session: WorkerSession,
    unit: DoneUnit,
    answered: ReadonlySet<LeaseId>,
  ): void {
    const lease = this.options.cluster.leases.get(unit.lease);
    if (unit.status !== 'ok' || lease?.worker !== session.worker) return;
    if (lease.group.leases[0] !== lease) {
      throw new RemoteProtocolError(
        `lease ${String(unit.lease)} is part of a group and answers alone`,
      );
    }
    if (answered.has(unit.lease))
      throw new RemoteProtocolError(`lease ${String(unit.lease)} is answered twice`);
    const { outputs, digest } = unit;
    if (session.payee !== null && digest !== null) {
      session.digests.check(unit.lease, outputs, digest);
    }
    const collector = this.options.collectorOf(lease.execution.id);
    if (collector === null) return;
    const { shard } = lease.unit;
    const expected = collector.expectedBytes(shard);
    const fits =
      outputs === null
        ? collector.isStaged(unit.lease, shard)
        : outputs.length === expected.length &&
          outputs.every((chunks, output) => totalBytes(chunks) === expected[output]);
    if (!fits) {
      throw new RemoteProtocolError(
        `result of lease ${String(unit.lease)} has other sizes than its program's outputs (${expected.join(', ')} bytes)`,
      );
    }
  }

  private refuse(peer: Peer, reason: ByeReason, message: string): void {
    this.forgetStranger(peer);
    this.anteroom.leave(peer);
    this.say(peer, reason, message);
    this.dismiss(peer);
    this.lose(peer, message);
  }

  private say(peer: Peer, reason: ByeReason, message: string): void {
    peer.send(
      encodeEngineMessage({ kind: 'bye', reason, message: message.slice(0, LIMITS.errorChars) }),
    );
  }

  private lose(peer: Peer, reason: string, isOrderly = false): void {
    const session = this.byPeer.get(peer.key);
    if (session === undefined) return;
    this.detach(session, reason);
    this.options.feed({ kind: 'left', worker: session.worker, reason, isOrderly });
  }

  private detach(session: WorkerSession, reason: string): void {
    this.byPeer.delete(session.peer.key);
    if (this.byWorker.get(session.worker) === session) this.byWorker.delete(session.worker);
    const member = this.options.cluster.members.get(session.worker);
    for (const lease of member?.leases.values() ?? []) {
      this.options.collectorOf(lease.execution.id)?.discard(lease.id);
    }
    session.close();
    this.departures.push({ workerId: session.worker, atMs: this.options.wallMs(), reason });
    if (this.departures.length > ENGINE_LIMITS.goneShown) this.departures.shift();
    this.options.onLeft(session, reason);
  }

  private forgetStranger(peer: Peer): void {
    const timer = this.strangers.get(peer.key);
    if (timer !== undefined) clearTimeout(timer);
    this.strangers.delete(peer.key);
  }
}

/** Answers to what this worker has not been asked. */
function unasked({ kind }: WorkerToEngine): RemoteProtocolError {
  return new RemoteProtocolError(`${kind} answers nothing that was asked`, { kind });
}

/** What the panel and the worker's owner call a worker. */
export function shortIdOf(worker: WorkerId): string {
  return worker.slice(0, 6);
}

function resultOf(unit: DoneUnit): UnitResult {
  return {
    lease: unit.lease,
    status: unit.status,
    computeUs: unit.computeUs,
    output: unit.status === 'nonFinite' ? unit.output : -1,
    error: unit.status === 'failed' ? unit.error : null,
  };
}
