/** @file What the hub of workers needs from the engine around it, and what it keeps of those that left. */
import type { DoneMessage, EngineId, HelloMessage, WorkerId } from '@ravenlab/protocol';
import type { ClusterEvent } from '../core/cluster/events.js';
import type { ClusterState, Resource } from '../core/cluster/state.js';
import type { Collector } from './collector.js';
import type { DealDesk } from './dealDesk.js';
import type { Resources } from './resources.js';
import type { NeedRef, WorkerSession } from './session.js';
import type { Peer } from './transport.js';

export interface HubOptions {
  readonly engineId: EngineId;
  readonly price: () => string;
  readonly now: () => number;
  readonly wallMs: () => number;
  readonly resources: Resources;
  readonly cluster: ClusterState;
  readonly feed: (event: ClusterEvent, done?: DoneMessage) => void;
  /** Null when the execution has ended. */
  readonly collectorOf: (execution: number) => Collector | null;
  /** By which right the secret in a HELLO admits its sender; null when it does not. */
  readonly admits: (hello: HelloMessage, peer: Peer) => Admission | null;
  /** Who pays workers that came by an invite. */
  readonly desk: DealDesk;
  /** The CURVE public key that invites name, Z85. */
  readonly serverKey: () => string;
  /** Whether results of who connects here need no audit. */
  readonly trusts: (peer: Peer) => boolean;
  /** A worker will make the update that it was told. */
  readonly onMaking: (session: WorkerSession, execution: number) => void;
  /** It did not. */
  readonly onUnmade: (session: WorkerSession, execution: number) => void;
  readonly findResource: (ref: NeedRef) => Resource | undefined;
  /** Somebody named a wallet that is banned, and was refused. */
  readonly onBannedWallet: (text: string) => void;
  readonly onJoined: (session: WorkerSession) => void;
  readonly onLeft: (session: WorkerSession, reason: string) => void;
  readonly log: (text: string) => void;
  /** A socket failed, or a mistake of ours came to light. */
  readonly onFatal: (error: Error) => void;
}

export interface Admission {
  /** The name of the invite that it came by; null for a machine of the engine's owner. */
  readonly invite: string | null;
}

export interface Departure {
  readonly workerId: WorkerId;
  /** Wall clock, ms. */
  readonly atMs: number;
  readonly reason: string;
}
