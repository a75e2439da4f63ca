/** @file What an engine is made with. The process around it reads it from its environment. */
import type { Worker } from 'node:worker_threads';
import type { BackendName, EngineId, Price } from '@ravenlab/protocol';
import type { JournalMode } from '../core/journal/journal.js';
import type { ChainService } from './chain/chainService.js';

export interface EngineOptions {
  readonly engineId: EngineId;
  readonly localWorkers: number;
  /** What they compute on, in turns; empty: what a worker takes by itself. */
  readonly localBackends: readonly BackendName[];
  /** Program and leading arguments that start a local worker. */
  readonly workerCommand: readonly string[];
  /** Address that invites name. */
  readonly host: string;
  readonly journal: JournalMode;
  /** Of the journal: begun before the rest of the engine was read. */
  readonly journalThread: Worker;
  /** What workers are paid on. */
  readonly chain: ChainService;
  /** What work costs, for all of its life. */
  readonly price: Price;
  /** How long it waits for a kernel when it has none; ms. */
  readonly lingerMs: number;
  /** Results of invited workers are audited. */
  readonly isAuditing: boolean;
  readonly log: (text: string) => void;
  /** The engine cannot go on. */
  readonly onFatal: (error: unknown) => void;
  /** Nobody needs it any more: its kernel said so, or did not come back. */
  readonly onEnd: (how: { readonly isForgetting: boolean }) => void;
}
