/**
 * @file Follows one job on the chain: its balance in the newest block, and its lanes as confirmed events tell them. The newest blocks are
 * read again each time, because a chain may take them back.
 */
import type { Block, EscrowClient, EscrowEvent, JobOnChain } from '@ravenlab/contracts';
import type { Address, JobId } from '@ravenlab/protocol';
import { ChainError } from '@ravenlab/protocol';
import { compareWindow, confirmedBlock, inOrder, windowOf } from '../../core/chain/eventWindow.js';
import type { ChainDatabase, StoredEvent } from './chainDatabase.js';
import type { LaneOnChain } from './chainService.js';

export interface JobWatchOptions {
  readonly escrow: EscrowClient;
  readonly database: ChainDatabase;
  readonly job: JobId;
  readonly confirmations: number;
}

export class JobWatch {
  readonly job: JobId;
  private readonly options: JobWatchOptions;
  private readonly lanes = new Map<Address, LaneOnChain>();
  private lastHead = '';
  private isBehind = true;
  private onChain: JobOnChain | null = null;
  private depositAmount = 0n;

  constructor(options: JobWatchOptions) {
    this.options = options;
    this.job = options.job;
  }

  /** As the newest block that was looked at has it; null before the first look. */
  get view(): JobOnChain | null {
    return this.onChain;
  }

  /** All that was put in, as far as it is confirmed. */
  get deposit(): bigint {
    return this.depositAmount;
  }

  /** Confirmed. */
  all(): readonly LaneOnChain[] {
    return [...this.lanes.values()];
  }

  /** @returns the lanes that are not as they were. */
  async poll(head: Block): Promise<readonly LaneOnChain[]> {
    if (head.hash === this.lastHead && !this.isBehind) return [];
    const { escrow, database, job, confirmations } = this.options;
    this.onChain = await escrow.job(job);
    if (this.onChain === null) {
      throw new ChainError(`job ${job} is not on this chain any more: was the node replaced?`);
    }
    const row = database.jobs().find(({ id }) => id === job);
    if (row === undefined) throw new ChainError(`job ${job} is not in the outbox's file`);
    const range = windowOf({ scanned: row.scanned, first: row.openedBlock, head: head.number });
    if (range !== null) {
      const seen = (await escrow.events(job, range)).map(stored);
      const change = compareWindow(database.events(job, range.from, range.to), seen);
      database.takeWindow(job, change, range.to);
    }
    this.isBehind = range !== null && range.to < head.number;
    this.lastHead = head.hash;
    return this.count(confirmedBlock(head.number, confirmations));
  }

  /** Adds up what is confirmed. @returns the lanes that changed. */
  private count(confirmed: number): readonly LaneOnChain[] {
    const { database, job } = this.options;
    const now = new Map<Address, LaneOnChain>();
    let deposit = 0n;
    for (const event of [...database.events(job, 0, confirmed)].sort(inOrder)) {
      deposit += BigInt(event.fields['credited'] ?? 0);
      if (event.payee === null) continue;
      const lane = now.get(event.payee) ?? { job, payee: event.payee, cap: 0n, paid: 0n };
      now.set(event.payee, laneAfter(lane, event));
    }
    this.depositAmount = deposit;
    const changed = [...now.values()].filter((lane) => {
      const before = this.lanes.get(lane.payee);
      return before?.cap !== lane.cap || before.paid !== lane.paid;
    });
    // Whose events are all gone has no lane any more.
    const lost = [...this.lanes.keys()].filter((payee) => !now.has(payee));
    for (const payee of lost) this.lanes.delete(payee);
    for (const lane of changed) this.lanes.set(lane.payee, lane);
    return [...changed, ...lost.map((payee) => ({ job, payee, cap: 0n, paid: 0n }))];
  }
}

/** Of each event, what it says of its lane. */
function laneAfter(lane: LaneOnChain, { name, fields }: StoredEvent): LaneOnChain {
  const amount = (field: string): bigint => BigInt(fields[field] ?? 0);
  switch (name) {
    case 'Reserved':
    case 'Released':
      return { ...lane, cap: amount('cap') };
    case 'Paid':
      return { ...lane, paid: amount('cumulative') };
    default:
      return lane;
  }
}

function stored({ name, values, log }: EscrowEvent): StoredEvent {
  const payee = values['payee'];
  const fields = Object.entries(values)
    .filter(([field]) => field !== 'id' && field !== 'payee')
    .map(([field, value]) => [field, String(value)] as const);
  return {
    block: log.blockNumber,
    blockHash: log.blockHash,
    logIndex: log.logIndex,
    name,
    payee: typeof payee === 'string' ? (payee.toLowerCase() as Address) : null,
    fields: Object.fromEntries(fields),
  };
}
