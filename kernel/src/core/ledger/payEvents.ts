/** @file What the paymaster is told and what it answers: events, effects, policy. Plain data. */
import type {
  Address,
  ChainHead,
  Hash32,
  JobId,
  LeaseId,
  Sha256,
  SignedVoucher,
  Verdict,
  Voucher,
} from '@ravenlab/protocol';
import type { SettleRule } from '../chain/settling.js';
import type { Trace } from '../cluster/transition.js';
import type { Presented } from './lane.js';
import type { CommittedWork, HeldWork, IssuedVoucher, Presence, StoredPayee } from './payLane.js';

export interface PayPolicy {
  /** Younger units of a stranger that must be committed before one is paid. */
  readonly holdbackUnits: number;
  /** A stranger that delivers nothing for this long is paid what is judged; ms. */
  readonly holdbackMs: number;
  /** Base units that a newcomer's lane is good for beyond what it earned; grows with what it earned. */
  readonly startCredit: bigint;
  /** ... up to this. */
  readonly maxCredit: bigint;
}

export type PaymasterEvent =
  /** There is a job to pay from, another one than before; `lanes` is what the store knows of it. */
  | {
      readonly kind: 'opened';
      readonly job: JobId;
      readonly lanes: readonly StoredPayee[];
      readonly rule: SettleRule | null;
    }
  /** When lanes are settled by themselves, from now on; null: when somebody asks. */
  | { readonly kind: 'rule'; readonly rule: SettleRule | null }
  /** Somebody works for the payee. `trusted`: nothing is held back, and no vouchers are sent. */
  | {
      readonly kind: 'joined';
      readonly payee: Address;
      readonly presence: Exclude<Presence, 'away'>;
    }
  | { readonly kind: 'left'; readonly payee: Address }
  /** @property verdict null when it is still to be judged. */
  | {
      readonly kind: 'committed';
      readonly work: CommittedWork;
      readonly verdict: Verdict | null;
    }
  | {
      readonly kind: 'judged';
      readonly leases: readonly LeaseId[];
      readonly verdict: Verdict;
    }
  /** A cheat was caught: nothing that is held of it is paid. */
  | { readonly kind: 'convicted'; readonly payee: Address }
  | {
      readonly kind: 'signed';
      readonly voucher: Voucher;
      readonly signature: { readonly r: Hash32; readonly vs: Hash32 };
    }
  /** It may not be signed now. */
  | { readonly kind: 'unsigned'; readonly voucher: Voucher }
  | { readonly kind: 'stored'; readonly payee: Address; readonly seq: number }
  | { readonly kind: 'acked'; readonly payee: Address; readonly seq: number }
  /** A worker shows the last voucher it holds, and our signature on it is verified; null: it holds none. */
  | {
      readonly kind: 'presented';
      readonly payee: Address;
      readonly voucher: SignedVoucher | null;
    }
  /** Confirmed on the chain. */
  | {
      readonly kind: 'lane';
      readonly payee: Address;
      readonly cap: bigint;
      readonly paid: bigint;
    }
  /** The chain takes no reservation now. */
  | { readonly kind: 'unreserved'; readonly retryAtMs: number }
  /** Nothing younger will come, as far as anybody knows: what is judged is paid. */
  | { readonly kind: 'release' }
  | { readonly kind: 'tick' };

/** A lane of a settlement. */
export interface SettledLane {
  readonly payee: Address;
  readonly cumulative: bigint;
}

export interface SettlementBatch {
  readonly lanes: readonly SettledLane[];
  readonly head: Hash32;
  /** What `head` is the hash of when there are several lanes; null when it is the only lane's own head. */
  readonly statement: string | null;
}

/** A unit's place in its lane's log. */
export interface ReceiptEntry {
  readonly work: CommittedWork;
  readonly verdict: Verdict;
  readonly line: string;
}

/** Receipts of one lane that are given at once, in order. */
export interface ReceiptRun {
  readonly job: JobId;
  readonly payee: Address;
  readonly entries: readonly ReceiptEntry[];
  /** Where the lane's chain is after them. */
  readonly chain: ChainHead;
}

export type PaymasterEffect =
  /** Store, before whatever follows. */
  | ({ readonly kind: 'receipts' } & ReceiptRun)
  /** There is no job, and no room to wait for one: metered, and not paid. */
  | { readonly kind: 'waive'; readonly work: CommittedWork }
  | { readonly kind: 'sign'; readonly voucher: Voucher }
  /** Store, then answer with `stored`. `count`: receipts that it pays for in all. */
  | { readonly kind: 'store'; readonly voucher: SignedVoucher; readonly count: number }
  | {
      readonly kind: 'send';
      readonly payee: Address;
      readonly vouchers: readonly IssuedVoucher[];
    }
  /** The worker has it: a note for the store. */
  | {
      readonly kind: 'kept';
      readonly job: JobId;
      readonly payee: Address;
      readonly seq: number;
    }
  | {
      readonly kind: 'reserve';
      readonly caps: readonly { readonly payee: Address; readonly cap: bigint }[];
    }
  | { readonly kind: 'settle'; readonly settlement: SettlementBatch }
  /** Whether further work of a stranger is backed by the chain; it gets none when not. */
  | { readonly kind: 'cover'; readonly payee: Address; readonly isCovered: boolean }
  /** A worker showed a voucher that we cannot follow. */
  | {
      readonly kind: 'puzzled';
      readonly payee: Address;
      readonly how: Exclude<Presented, 'known'>;
    };

export interface PaymasterOptions {
  readonly policy: PayPolicy;
  readonly sha256: Sha256;
  readonly trace: Trace;
  /** Work of an earlier life that has no receipt yet, with what is known of it by now. */
  readonly held: readonly HeldWork[];
}
