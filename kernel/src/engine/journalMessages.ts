/** @file What the engine's loop and its journal thread say to each other. Plain, clonable data. */
import type { ImageRef } from '../core/journal/journal.js';
import type { PaidKey } from '../core/journal/paidBook.js';
import type { LogCursor, LogPage, PayBatch, PayRow, RestoredPay } from './treasury/payRows.js';
import type { SharedMemory } from './wasm/memory.js';

/** The database, in the engine's folder. */
export const JOURNAL_FILE = 'journal.sqlite';

/** A committed unit as the ledger keeps it. */
export interface LedgerRow extends PaidKey {
  readonly worker: string;
  readonly flops: number;
  /** Base units, decimal. */
  readonly amount: string;
  readonly atMs: number;
}

/** Units whose rows do not count: `count` micro-shards of one worker, from `shard` on. */
export interface VoidedUnits extends PaidKey {
  readonly kind: 'voided';
  readonly worker: string;
  readonly count: number;
}

/** What the ledger has written, in the order of its causes. */
export type JournalRow = LedgerRow | VoidedUnits | PayRow;

/** Rows on their way to the thread: an object each would cost the loop more to send than the unit to decide. */
export interface LedgerBatch {
  /** Seven for each row: session, request, shard, worker and amount as indices of `texts`, flops, atMs. */
  readonly numbers: Float64Array<ArrayBuffer>;
  /** Each once. */
  readonly texts: readonly string[];
  readonly voided: readonly VoidedUnits[];
  readonly pay: PayBatch;
}

export interface AccountRow {
  readonly worker: string;
  /** Base units, decimal. */
  readonly posted: string;
  readonly units: number;
}

/** Bytes of shared memory and where they are in an image. */
export interface ImagePart {
  readonly ptr: number;
  readonly sizeBytes: number;
  readonly offset: number;
}

/** A part that never changes under its name: left alone when the slot holds it at this place already. */
export interface NamedPart extends ImagePart {
  readonly name: string;
}

/** What is stored once under the hash of its content: programs, manifests. */
export interface JournalBlob {
  readonly key: string;
  readonly bytes: Uint8Array;
}

/** An image and all that belongs to it besides bytes of tensors. */
export interface JournalRecord {
  readonly image: ImageRef;
  /** Which kernel the point's session is. */
  readonly client: string;
  /** Start of the machine that wrote it: an image that was not forced to the disk is trusted on the same one only. */
  readonly bootId: string;
  /** Written at the head of the slot's file: the file is the one that is meant. */
  readonly nonce: string;
  /** JSON of an EngineSnapshot. */
  readonly snapshot: string;
}

/** What an earlier life of the engine left. */
export interface Restored {
  /** Counts the starts of this engine; this one included. */
  readonly boot: number;
  readonly current: JournalRecord | null;
  readonly lastSynced: JournalRecord | null;
  readonly accounts: readonly AccountRow[];
  /** Paid shards of requests that may be asked again. */
  readonly paid: readonly PaidKey[];
  readonly pay: RestoredPay;
  /** Highest session that was ever paid for or journaled. */
  readonly lastSession: number;
  readonly blobs: readonly JournalBlob[];
  /** Keys and port of the remote access, as JSON; null if it was never opened. */
  readonly remote: string | null;
}

export type JournalRequest =
  | { readonly kind: 'open'; readonly site: JournalSite; readonly caught: readonly string[] }
  | {
      readonly kind: 'image';
      readonly slot: number;
      readonly nonce: string;
      readonly isSynced: boolean;
      readonly sizeBytes: number;
      /** Change with the next update: copied first, told by 'copied'. */
      readonly volatile: readonly ImagePart[];
      readonly stable: readonly NamedPart[];
    }
  /** Reads an image back into shared memory. */
  | {
      readonly kind: 'load';
      readonly slot: number;
      readonly nonce: string;
      readonly parts: readonly ImagePart[];
    }
  | {
      readonly kind: 'write';
      readonly ledger: LedgerBatch;
      readonly record: JournalRecord | null;
      readonly blobs: readonly JournalBlob[];
      readonly isSynced: boolean;
    }
  | { readonly kind: 'remote'; readonly text: string }
  /** Receipts that are on the disk. */
  | { readonly kind: 'log'; readonly cursor: LogCursor | null; readonly limit: number }
  /** Images, programs and data go; the ledger stays. */
  | { readonly kind: 'forget' }
  | { readonly kind: 'close' };

export type JournalResponse =
  | { readonly kind: 'opened'; readonly restored: Restored }
  | { readonly kind: 'copied' }
  | { readonly kind: 'imaged' }
  | { readonly kind: 'loaded' }
  | { readonly kind: 'written' }
  | { readonly kind: 'saved' }
  | { readonly kind: 'log'; readonly page: LogPage }
  | { readonly kind: 'forgotten' }
  | { readonly kind: 'closed' }
  /** The request failed; what it was to replace is untouched. */
  | {
      readonly kind: 'refused';
      readonly request: JournalRequest['kind'];
      readonly message: string;
    };

/** What the thread works on, from when it is opened. */
export interface JournalSite {
  readonly folder: string;
  readonly bootId: string;
  readonly memory: SharedMemory;
}
