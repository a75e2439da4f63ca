/**
 * @file Follows one job on the chain: its balance in the newest block, and its lanes as confirmed events tell them. The newest blocks are
 * read again each time, because a chain may take them back.
 */
import type { Block, EscrowClient, EscrowEvent, JobOnChain } from '@ravenlab/contracts';
import type { Address, JobId } from '@ravenlab/protocol';
import { CHAIN_LIMITS, ChainError } from '@ravenlab/protocol';
import { compareWindow, eventKey, inOrder, windowOf } from '../../core/chain/eventWindow.js';
import type { ChainDatabase, StoredEvent } from './chainDatabase.js';
import type { LaneOnChain } from './chainService.js';
import { NodesDisagree } from './nodes.js';

export interface JobWatchOptions {
  readonly escrow: EscrowClient;
  readonly database: ChainDatabase;
  readonly job: JobId;
  /** The same escrow at a second node, which has to tell the same of what counts; null where there is none. */
  readonly second?: EscrowClient | null;
}

interface BlockRange {
  readonly from: number;
  readonly to: number;
}

export class JobWatch {
  readonly job: JobId;
  private readonly options: JobWatchOptions;
  private readonly lanes = new Map<Address, LaneOnChain>();
  private lastLook = '';
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

  /**
   * @param confirmed newest block that counts
   * @returns the lanes that are not as they were.
   * @throws ChainError when two nodes tell different events of blocks that count.
   */
  async poll(head: Block, confirmed: number): Promise<readonly LaneOnChain[]> {
    const look = `${head.hash} ${String(confirmed)}`;
    if (look === this.lastLook && !this.isBehind) return [];
    const { escrow, database, job } = this.options;
    this.onChain = await escrow.job(job);
    if (this.onChain === null) {
      throw new ChainError(`job ${job} is not on this chain any more: was the node replaced?`);
    }
    const row = database.jobs().find(({ id }) => id === job);
    if (row === undefined) throw new ChainError(`job ${job} is not in the outbox's file`);
    const range = windowOf({ scanned: row.scanned, first: row.openedBlock, head: head.number });
    const lowest = range === null ? Number.POSITIVE_INFINITY : await this.read(range);
    if (range !== null) database.scanned(job, range.to);
    const before = Math.min(row.counted ?? row.openedBlock - 1, lowest - 1, confirmed);
    const counted = await this.confirm(before, confirmed, range);
    this.isBehind = counted < confirmed || (range !== null && range.to < head.number);
    this.lastLook = look;
    return this.count(counted);
  }

  /** True while there are blocks that were not looked at yet. */
  get isReading(): boolean {
    return this.isBehind;
  }

  /** Takes over what the node tells of these blocks. @returns the lowest one in which something has changed. */
  private async read(range: BlockRange): Promise<number> {
    const { escrow, database, job } = this.options;
    const seen = (await escrow.events(job, range)).map(stored);
    const change = compareWindow(database.events(job, range.from, range.to), seen);
    database.takeWindow(job, change);
    return Math.min(...[...change.added, ...change.gone].map(({ block }) => block));
  }

  /**
   * What counts is read once more when it can no longer change, and from a second node too: until then it may have been another
   * block's, and a block's hash says nothing of what a node leaves out of its answer, or puts into it.
   * @param before newest block that counts already
   * @returns the newest that counts now.
   */
  private async confirm(
    before: number,
    confirmed: number,
    fresh: BlockRange | null,
  ): Promise<number> {
    const { second, database, job } = this.options;
    const range = { from: before + 1, to: Math.min(confirmed, before + CHAIN_LIMITS.logBlocks) };
    if (range.to >= range.from) {
      const isFresh = fresh !== null && fresh.from <= range.from && range.to <= fresh.to;
      if (!isFresh) await this.read(range);
      if (second !== null && second !== undefined) await this.compare(second, range);
    }
    database.counted(job, range.to);
    return range.to;
  }

  private async compare(second: EscrowClient, range: BlockRange): Promise<void> {
    const { escrow, database, job } = this.options;
    const lines = (events: readonly StoredEvent[]): string =>
      JSON.stringify(
        [...events]
          .sort(inOrder)
          .map((event) => [eventKey(event), event.name, event.payee, event.fields]),
      );
    const there = (await second.events(job, range)).map(stored);
    if (lines(database.events(job, range.from, range.to)) === lines(there)) return;
    const blocks = `blocks ${String(range.from)} to ${String(range.to)}`;
    const nodes = { chain: escrow.chain, second: second.chain };
    throw new NodesDisagree(nodes, `they tell different events of job ${job} in ${blocks}`);
  }

  /** Adds up what counts. @returns the lanes that changed. */
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
