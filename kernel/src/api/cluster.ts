/** @file The namespace `cluster`: who computes, how many, how to join. Commands to the engine; no state of its own. */
import type {
  Aggregate,
  Contributor,
  ContributorState,
  PanelState,
  PaymentsSummary,
  WireFormat,
} from '@ravenlab/protocol';
import {
  AGGREGATE_FORMS,
  ClusterError,
  ENGINE_LIMITS,
  PANEL_LIMITS,
  WIRE_FORMATS,
  WORKER_LIMITS,
  coinScaleFor,
  displayName,
  formatAmount,
  formatCount,
  formatGflops,
  formatLatency,
  formatRate,
  read,
  readAggregate,
  readPanelState,
  ShapeError,
} from '@ravenlab/protocol';
import { escapeHtml } from './html.js';
import type { ExportedReceipts } from './payments.js';
import { exportReceipts, readPayments, settlePayments } from './payments.js';
import type { TrainingRun } from './resume/trainingRun.js';
import { attachRun } from './resume/trainingRun.js';
import type { ComputeFormat } from './precision.js';
import { COMPUTE_FORMATS } from './precision.js';
import { currentRuntime, expectReply } from './runtime.js';

const JUPYTER_DISPLAY = Symbol.for('Jupyter.display');
const NODE_INSPECT = Symbol.for('nodejs.util.inspect.custom');
/** How often `ready` looks. */
const POLL_MS = 100;
/** How long `ready` waits in silence. */
const PATIENCE_MS = 1_000;
/** An invite, and the words around it. */
const INVITE_CHARS = 2 * WORKER_LIMITS.inviteChars;

const inviteFields = read.record({
  command: read.text(INVITE_CHARS),
  name: read.text(PANEL_LIMITS.nameChars),
  expiresAtMs: read.nullable(read.count()),
  workers: read.count(),
});

function readInvite(value: unknown, path: string): Invite {
  const { command: text, name, expiresAtMs, workers } = inviteFields(value, path);
  const expires = expiresAtMs === null ? null : new Date(expiresAtMs);
  return { command: text, name, expires, workers };
}

interface Column {
  readonly title: string;
  readonly isNumber: boolean;
  readonly cell: (worker: Contributor, state: PanelState) => string;
}

/** For people who came to train a model; the terms of the scheduler are in `status()`. */
const STATE_WORDS: Readonly<Record<ContributorState, string>> = {
  joining: 'ready, new',
  idle: 'ready',
  busy: 'working',
  suspect: 'not answering',
  quarantined: 'waiting after failures',
  paused: 'paused',
  draining: 'finishing',
  gone: 'left',
};

const COLUMNS: readonly Column[] = [
  { title: 'worker', isNumber: false, cell: (worker) => displayName(worker) },
  { title: 'device', isNumber: false, cell: ({ device }) => device },
  { title: 'backend', isNumber: false, cell: ({ backend }) => backend },
  { title: 'state', isNumber: false, cell: ({ state }) => STATE_WORDS[state] },
  { title: 'speed', isNumber: true, cell: ({ gflops }) => formatGflops(gflops) },
  { title: 'units', isNumber: true, cell: ({ unitsDone }) => formatCount(unitsDone) },
  { title: 'samples/s', isNumber: true, cell: (worker) => formatRate(worker.samplesPerSecond) },
  { title: 'latency', isNumber: true, cell: ({ latencyMs }) => formatLatency(latencyMs) },
  {
    title: 'earned',
    isNumber: true,
    cell: ({ earnedUnits }, { payments }) => {
      const { unit, decimals } = coinScaleFor(earnedUnits, payments);
      return `${formatAmount(earnedUnits, decimals)} ${unit}`;
    },
  },
];

/** The workers at one moment, shown as a table. */
export class WorkerTable implements Iterable<Contributor> {
  readonly state: PanelState;

  constructor(state: PanelState) {
    this.state = state;
  }

  get length(): number {
    return this.state.contributors.length;
  }

  [Symbol.iterator](): Iterator<Contributor> {
    return this.state.contributors[Symbol.iterator]();
  }

  [NODE_INSPECT](): string {
    const rows = [COLUMNS.map(({ title }) => title), ...this.rows()];
    const widths = COLUMNS.map((_, i) => Math.max(...rows.map((row) => row[i]?.length ?? 0)));
    const lines = rows.map((row) =>
      row
        .map((cell, i) =>
          COLUMNS[i]?.isNumber === true
            ? cell.padStart(widths[i] ?? 0)
            : cell.padEnd(widths[i] ?? 0),
        )
        .join('  ')
        .trimEnd(),
    );
    return lines.join('\n');
  }

  [JUPYTER_DISPLAY](): Record<string, string> {
    const tag = (name: string, cell: string, column: number): string => {
      const side = COLUMNS[column]?.isNumber === true ? 'right' : 'left';
      return `<${name} style="text-align:${side};white-space:nowrap">${escapeHtml(cell)}</${name}>`;
    };
    const head = COLUMNS.map(({ title }, i) => tag('th', title, i)).join('');
    const body = this.rows()
      .map((row) => `<tr>${row.map((cell, i) => tag('td', cell, i)).join('')}</tr>`)
      .join('');
    const html = `<table><thead><tr>${head}</tr></thead><tbody>${body}</tbody></table>`;
    return { 'text/html': html, 'text/plain': this[NODE_INSPECT]() };
  }

  private rows(): string[][] {
    return this.state.contributors.map((worker) =>
      COLUMNS.map(({ cell }) => cell(worker, this.state)),
    );
  }
}

/** What to send someone who wants to help. */
export interface Invite {
  /** Typed in a terminal of the machine that joins. A secret, like a password. */
  readonly command: string;
  readonly name: string;
  /** From then on it lets nobody in anew; null for never. */
  readonly expires: Date | null;
  /** Workers that came by it and are here. */
  readonly workers: number;
}

export interface InviteOptions {
  /** What `invites()` and `revoke()` call it; 'default' when left out. The same name is the same invite. */
  readonly name?: string;
  /** Null never ends; left out, an invite of this name keeps its end. */
  readonly expires?: Date | null;
}

/** A worker by its row or id; the first characters of an id will do when they are of one worker only. */
export type WorkerName = string | Pick<Contributor, 'workerId'>;

export interface ClusterRules {
  readonly mixClasses?: boolean;
}

function idOf(worker: WorkerName): string {
  return typeof worker === 'string' ? worker : worker.workerId;
}

async function command(
  op: string,
  args: Readonly<Record<string, unknown>> = {},
): Promise<Record<string, unknown>> {
  const reply = await currentRuntime().session.request({ kind: 'command', op, args });
  const { value } = expectReply(reply, 'result');
  if (typeof value === 'object' && value !== null) return value as Record<string, unknown>;
  throw new ClusterError(`the engine answered '${op}' without a result; restart the kernel`);
}

async function state(): Promise<PanelState> {
  return readPanelState((await command('status'))['panel'], 'status.panel');
}

/** The machines behind this notebook. */
class Cluster {
  /**
   * Rows of one micro-shard, 32 by default. Decides the bits of a run, never who computes it: set it once, before training.
   * Larger shards have less overhead, more of them spread over more workers.
   */
  get microShard(): number {
    return currentRuntime().microShardRows;
  }
  set microShard(rows: number) {
    if (!Number.isInteger(rows) || rows < 1) {
      throw new ShapeError(`cluster.microShard: expected a positive integer, got ${String(rows)}`);
    }
    currentRuntime().microShardRows = rows;
  }

  /**
   * What gradients travel as, 'float32' by default. 'bfloat16' and 'float16' halve their bytes, 'int8' leaves a quarter: for slow
   * networks. They are rounded wherever two micro-shards' gradients are added, so it decides the bits of a run and never who
   * computes it: set it once, before training. float16 ends at 65504; the others reach as far as float32.
   */
  get wire(): WireFormat {
    return currentRuntime().wire;
  }
  set wire(format: WireFormat) {
    if (!WIRE_FORMATS.includes(format)) {
      throw new ClusterError(
        `cluster.wire: expected one of ${WIRE_FORMATS.join(', ')}, got ${format as string}`,
      );
    }
    currentRuntime().wire = format;
  }

  /**
   * How the gradients of a step's micro-shards become one, 'sum' by default. `{ kind: 'trimmedMean', trim: 0.1 }` leaves out, for each
   * weight, the tenth of the micro-shards with the largest gradients and the tenth with the smallest; `{ kind: 'centeredClip', radius: 1 }`
   * lets none pull further than `radius` from their middle. For data of which a part may be bad: then few micro-shards cannot spoil a
   * step. It decides the bits of a run and never who computes it: set it once, before training. Each micro-shard's gradients travel
   * alone, so it costs more than a sum.
   */
  get aggregate(): Aggregate {
    return currentRuntime().aggregate;
  }
  set aggregate(rule: Aggregate) {
    const read = readAggregate(rule);
    if (read === null) {
      throw new ClusterError(
        `cluster.aggregate: expected ${AGGREGATE_FORMS}, got ${JSON.stringify(rule)}`,
      );
    }
    currentRuntime().aggregate = read;
  }

  /**
   * What matrix products and convolutions are made in, 'float32' by default. 'float16' rounds what goes into them, forward and backward,
   * and adds up in float32; weights, and all that is no product, stay float32. Losses are scaled meanwhile as by PyTorch's GradScaler:
   * a step whose gradients overflow leaves the weights as they are and halves the scale, 2,000 good ones in a row double it. It
   * decides the bits of a run, and never who computes it: set it before the model runs. Setting it begins with a new scale. No device is
   * faster with it so far: backends round to float16 and multiply in float32.
   */
  get compute(): ComputeFormat {
    return currentRuntime().compute;
  }
  set compute(format: ComputeFormat) {
    if (!COMPUTE_FORMATS.includes(format)) {
      throw new ClusterError(
        `cluster.compute: expected one of ${COMPUTE_FORMATS.join(', ')}, got ${format as string}`,
      );
    }
    const runtime = currentRuntime();
    runtime.compute = format;
    runtime.lossScaler.reset();
  }

  /** Everything the panel shows, as data. */
  status(): Promise<PanelState> {
    return state();
  }

  /** The workers, as a table. */
  async workers(): Promise<WorkerTable> {
    return new WorkerTable(await state());
  }

  /**
   * The run that this notebook's last kernel left in the engine, as of its last committed step; null in a fresh one, and once the run
   * has been restored. Then build everything as before, and
   *
   *     const run = await cluster.attach();
   *     await run?.restore({ model, optimizer, schedule, loader });
   *     for (const epoch of progress(10, { resume: run })) for (const [x, y] of loader) …
   */
  attach(): Promise<TrainingRun | null> {
    return attachRun(currentRuntime());
  }

  /** Starts or stops local workers until there are `workers` of them. */
  async scale(workers: number): Promise<void> {
    await command('scale', { workers });
  }

  /** Gives a worker nothing new; it ends what it has. @param worker a row of `workers()`, its id, or the beginning of it. */
  async drain(worker: WorkerName): Promise<void> {
    await command('drain', { workerId: idOf(worker) });
  }

  /** Stops a worker at once; what it has goes to others. It stays paused when it comes back. */
  async pause(worker: WorkerName): Promise<void> {
    await command('pause', { workerId: idOf(worker) });
  }

  /** Gives a drained or paused worker work again. */
  async resume(worker: WorkerName): Promise<void> {
    await command('resume', { workerId: idOf(worker) });
  }

  /** Sends a worker away and lets neither it nor the wallet that it proved in again. What it has earned stays owed. */
  async ban(worker: WorkerName): Promise<void> {
    await command('ban', { workerId: idOf(worker) });
  }

  /** Lets a banned worker in again, named by its id or by its wallet, and both of them. */
  async unban(worker: WorkerName): Promise<void> {
    await command('unban', { workerId: idOf(worker) });
  }

  /**
   * Rules of the whole cluster.
   * `mixClasses`: a run takes results of different bit classes (backend, instruction set), which round differently. The same
   * bits are then promised no more, only the same numbers within rounding. Off by default: a run keeps to one class.
   */
  async configure(rules: ClusterRules): Promise<void> {
    await command('configure', { ...rules });
  }

  /**
   * The command by which another machine joins: one for all of them, or one a name, to be withdrawn by itself.
   * @throws ClusterError for a name or an end that cannot be.
   */
  async invite({ name, expires }: InviteOptions = {}): Promise<Invite> {
    const args = {
      ...(name === undefined ? {} : { name }),
      ...(expires === undefined ? {} : { expiresAtMs: expires?.getTime() ?? null }),
    };
    return readInvite(await command('invite', args), 'invite');
  }

  /** The invites that were made and not withdrawn, oldest first. */
  async invites(): Promise<readonly Invite[]> {
    const { invites } = await command('invites');
    return read.list(readInvite, ENGINE_LIMITS.invites)(invites, 'invites');
  }

  /**
   * Withdraws an invite: whoever came by it goes, and nobody comes by it again.
   * @returns how many workers went. @throws ClusterError when there is none of this name.
   */
  async revoke(name: string): Promise<number> {
    const { workers } = await command('revoke', { name });
    return read.count()(workers, 'revoke.workers');
  }

  /** What is owed and paid: the job's account, each contributor's units, vouchers and payments, transactions. Amounts are base units, as text. */
  payments(): Promise<PaymentsSummary> {
    return readPayments(command);
  }

  /**
   * Pays everybody what the job owes now, on the chain.
   * @returns number of the transaction, which `payments().transactions` follows; null when nothing is owed.
   * @throws ClusterError when payments are off, or the chain cannot be used.
   */
  settle(): Promise<number | null> {
    return settlePayments(command);
  }

  /**
   * Writes every receipt there is to a file, which hashes to what the vouchers and the chain name: `npm run chain -- verify <file>`.
   * @param path ends in .csv (the lines that are hashed, and nothing else) or .json (also each lane's end and newest voucher)
   * @throws DataError for any other name, and when the file cannot be written.
   */
  exportReceipts(path: string): Promise<ExportedReceipts> {
    return exportReceipts(command, path);
  }

  /**
   * Waits until `workers` of them can take work, and returns them as a table.
   * @throws ClusterError after `timeoutMs`.
   */
  async ready(workers = 1, options: { readonly timeoutMs?: number } = {}): Promise<WorkerTable> {
    const { session } = currentRuntime();
    const startedMs = session.now();
    const timeoutMs = options.timeoutMs ?? 60_000;
    let hasSpoken = false;
    for (;;) {
      const now = await state();
      const { workerCount } = now.cluster;
      if (workerCount >= workers) return new WorkerTable(now);
      const waitedMs = session.now() - startedMs;
      if (waitedMs >= timeoutMs) {
        throw new ClusterError(
          `cluster.ready: ${String(workerCount)} of ${String(workers)} workers after ${String(Math.round(waitedMs / 1000))} s; ` +
            'start local ones with await cluster.scale(2), or invite others with await cluster.invite()',
          { retryable: true, meta: { workerCount, workers } },
        );
      }
      if (!hasSpoken && waitedMs >= PATIENCE_MS) {
        hasSpoken = true;
        session.write(
          'stdout',
          `waiting for workers: ${String(workerCount)} of ${String(workers)} are here\n`,
        );
      }
      await new Promise((resolve) => setTimeout(resolve, POLL_MS));
    }
  }
}

export const cluster = new Cluster();
