/**
 * @file An exported ledger, read again by whoever does not trust it: every line hashed, every head and promise followed back to
 * the lines it pays for. RFC 3 §5. What the chain says is compared by the caller: `heads` is all that it may name.
 */
import type { Address, Hash32, JobId, Sha256, SignedVoucher, Verdict } from '@ravenlab/protocol';
import {
  EMPTY_CHAIN,
  RECEIPT_COLUMNS,
  RavenError,
  VOUCHER_LIMITS,
  addressReader,
  appendReceipt,
  baseUnits,
  decodeVoucher,
  hash32Reader,
  jobIdReader,
  parseReceiptLine,
  settlementHead,
} from '@ravenlab/protocol';

export const LEDGER_FORMAT = 'ravenlab-ledger';
export const LEDGER_VERSION = 1;

/** Where a lane's chain was after so many receipts. */
export interface LogPoint {
  readonly count: number;
  readonly earned: bigint;
}

export interface LogLane {
  readonly job: JobId;
  readonly payee: Address;
  readonly count: number;
  readonly earned: bigint;
  readonly head: Hash32;
  readonly verdicts: Readonly<Record<Verdict, number>>;
  /** Its newest voucher, whose signature is for the caller to recover. */
  readonly voucher: SignedVoucher | null;
  /** Every head that a voucher or a payment may name. */
  readonly points: ReadonlyMap<Hash32, LogPoint>;
}

export interface LedgerLog {
  readonly lanes: readonly LogLane[];
  /** Heads of settlements of several lanes: where each lane was. */
  readonly settlements: ReadonlyMap<Hash32, ReadonlyMap<Address, LogPoint>>;
}

/**
 * Reads an export, CSV or JSON.
 * @throws RavenError 'ledger' that names the first thing that is not what it should be.
 */
export function readLedgerLog(text: string, sha256: Sha256): LedgerLog {
  return text.startsWith('{') ? readJson(text, sha256) : readCsv(text, sha256);
}

function refuse(what: string): never {
  throw new RavenError('ledger', `the exported ledger does not hold: ${what}`, { fault: 'user' });
}

function readCsv(text: string, sha256: Sha256): LedgerLog {
  const [columns, ...lines] = text.split('\n');
  if (columns !== RECEIPT_COLUMNS.join(',')) {
    refuse(`its first line is '${String(columns).slice(0, 80)}', not the names of the columns`);
  }
  if (lines.pop() !== '') refuse('its last line has no end');
  const byLane = new Map<string, string[]>();
  for (const line of lines) {
    const [, job, payee] = line.split(',');
    const name = `${String(job)},${String(payee)}`;
    const own = byLane.get(name) ?? [];
    own.push(line);
    byLane.set(name, own);
  }
  const lanes = [...byLane.values()].map((own) => hashLane(own, sha256));
  return { lanes, settlements: new Map() };
}

function readJson(text: string, sha256: Sha256): LedgerLog {
  let parsed: unknown;
  try {
    parsed = JSON.parse(text);
  } catch (cause) {
    throw new RavenError('ledger', 'the exported ledger is not whole: it is no JSON', {
      ...{ fault: 'user', cause },
    });
  }
  const file = objectOf(parsed, 'the file');
  if (file['format'] !== LEDGER_FORMAT || file['version'] !== LEDGER_VERSION) {
    refuse(`it is not of the format ${LEDGER_FORMAT} ${String(LEDGER_VERSION)}`);
  }
  const lanes = listOf(file['lanes'], 'lanes').map((lane) => readLane(lane, sha256));
  const settlements = new Map<Hash32, ReadonlyMap<Address, LogPoint>>();
  for (const each of listOf(file['settlements'], 'settlements')) {
    const { head, points } = readSettlement(each, lanes, sha256);
    if (points !== null) settlements.set(head, points);
  }
  return { lanes, settlements };
}

function readLane(value: unknown, sha256: Sha256): LogLane {
  const lane = objectOf(value, 'a lane');
  const job = jobIdReader(lane['job'], 'lane.job');
  const payee = addressReader(lane['payee'], 'lane.payee');
  const lines = listOf(lane['lines'], 'lane.lines').map((line) =>
    typeof line === 'string' ? line : refuse(`a line of ${payee} is no text`),
  );
  const own = hashLane(lines, sha256, { job, payee });
  const earned = baseUnits(VOUCHER_LIMITS.laneAmount)(lane['earned'], 'lane.earned');
  if (lane['head'] !== own.head || lane['count'] !== own.count || earned !== own.earned) {
    refuse(
      `${payee} is said to end at ${String(lane['head'])} with ${String(lane['count'])} receipts of ${String(earned)}, ` +
        `its lines end at ${own.head} with ${String(own.count)} of ${String(own.earned)}`,
    );
  }
  if (lane['voucher'] === null) return own;
  const voucher = decodeVoucher(lane['voucher']);
  if (!voucher.ok) throw voucher.error;
  checkVoucher(voucher.value, own);
  return { ...own, voucher: voucher.value };
}

function checkVoucher(voucher: SignedVoucher, lane: LogLane): void {
  const { job, payee, cumulative, ledgerHead } = voucher;
  if (job !== lane.job || payee !== lane.payee) refuse(`${lane.payee} has a voucher of ${payee}`);
  const point = lane.points.get(ledgerHead);
  if (point === undefined) refuse(`the voucher of ${payee} names ${ledgerHead}, which no line has`);
  if (cumulative > point.earned) {
    refuse(`the voucher of ${payee} promises ${String(cumulative)} of ${String(point.earned)}`);
  }
}

function readSettlement(
  value: unknown,
  lanes: readonly LogLane[],
  sha256: Sha256,
): { readonly head: Hash32; readonly points: ReadonlyMap<Address, LogPoint> | null } {
  const settlement = objectOf(value, 'a settlement');
  const job = jobIdReader(settlement['job'], 'settlement.job');
  const head = hash32Reader(settlement['head'], 'settlement.head');
  const { statement } = settlement;
  if (statement === null) return { head, points: null };
  if (typeof statement !== 'string') return refuse('the statement of a settlement is no text');
  const points = new Map<Address, LogPoint>();
  const named = statement
    .trimEnd()
    .split('\n')
    .map((line) => {
      const [payeeText, countText, headText] = line.split(',');
      const payee = addressReader(payeeText, 'settlement.payee');
      const own = hash32Reader(headText, 'settlement.head');
      const lane = lanes.find((each) => each.job === job && each.payee === payee);
      const point = lane?.points.get(own);
      if (point === undefined || String(point.count) !== countText) {
        return refuse(`a settlement names ${own} of ${payee}, which no line has`);
      }
      points.set(payee, point);
      return { payee, count: point.count, head: own };
    });
  if (settlementHead(named, sha256).head !== head) {
    refuse(`the statement of a settlement does not hash to ${head}`);
  }
  return { head, points };
}

function hashLane(
  lines: readonly string[],
  sha256: Sha256,
  owner?: { readonly job: JobId; readonly payee: Address },
): LogLane {
  let chain = EMPTY_CHAIN;
  let lane = owner ?? null;
  const verdicts = { accepted: 0, refused: 0 };
  const points = new Map<Hash32, LogPoint>([[chain.head, { count: 0, earned: 0n }]]);
  for (const line of lines) {
    const parsed = parseReceiptLine(line);
    if (!parsed.ok) throw parsed.error;
    const { job, payee, verdict } = parsed.value;
    lane ??= { job, payee };
    if (job !== lane.job || payee !== lane.payee) refuse(`a line of ${payee} is in ${lane.payee}`);
    chain = appendReceipt(chain, parsed.value, sha256).chain;
    if (chain.earned > VOUCHER_LIMITS.laneAmount) refuse(`${payee} earned more than a lane holds`);
    verdicts[verdict]++;
    points.set(chain.head, { count: chain.count, earned: chain.earned });
  }
  if (lane === null) return refuse('a lane has no lines');
  return { ...lane, ...chain, verdicts, voucher: null, points };
}

function objectOf(value: unknown, what: string): Readonly<Record<string, unknown>> {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    return refuse(`${what} is no object`);
  }
  return value as Readonly<Record<string, unknown>>;
}

function listOf(value: unknown, what: string): readonly unknown[] {
  return Array.isArray(value) ? value : refuse(`${what} is no list`);
}
