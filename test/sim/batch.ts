/** @file Many schedules and the proof that they meant something: coverage of tables and faults, canaries, replay. */
import { EXECUTION_TABLE } from '../../kernel/src/core/cluster/executionTable.js';
import { LEASE_TABLE } from '../../kernel/src/core/cluster/leaseTable.js';
import { MEMBER_TABLE } from '../../kernel/src/core/cluster/memberTable.js';
import { STANDING_TABLE } from '../../kernel/src/core/cluster/standingTable.js';
import { UNIT_TABLE } from '../../kernel/src/core/cluster/unitTable.js';
import { TRANSFER_TABLE } from '../../kernel/src/core/ledger/ledger.js';
import { CANARIES } from './canaries.js';
import type { Canary } from './canaries.js';
import { FAULTS } from './plan.js';
import { simulate } from './simulate.js';

/** Schedules within which every canary must be found. */
const CANARY_SEEDS = 5_000;
/** Below this many schedules, coverage is not judged: rare pairs need luck. */
const COVERAGE_SCHEDULES = 2_000;
const REPLAYED = 50;
const FINDINGS_MAX = 10;

const TABLES = {
  member: MEMBER_TABLE,
  standing: STANDING_TABLE,
  lease: LEASE_TABLE,
  unit: UNIT_TABLE,
  execution: EXECUTION_TABLE,
  transfer: TRANSFER_TABLE,
} as const;

/** Pairs that only the shell can cause and that have their own unit tests, with the reason. */
const OUTSIDE: ReadonlySet<string> = new Set([
  // The sum or the update failed: no float can make that happen here.
  'execution.reducing.fail',
]);

/** Every (status, cause) pair of every table, as `table.status.cause`. */
export function allCells(): string[] {
  return Object.entries(TABLES).flatMap(([name, table]) =>
    Object.entries(table).flatMap(([status, row]) =>
      Object.keys(row).map((cause) => `${name}.${status}.${cause}`),
    ),
  );
}

export interface BatchOptions {
  readonly firstSeed: number;
  readonly seedsMax: number;
  readonly isTimeUp: () => boolean;
}

export interface BatchReport {
  readonly schedules: number;
  readonly events: number;
  /** Time of the schedules alone, without canaries and replays; ms. */
  readonly elapsedMs: number;
  readonly findings: readonly string[];
  readonly canariesFound: number;
}

/** Seed that finds the canary, or null. */
export function findCanary(canary: Canary, firstSeed: number): number | null {
  for (let seed = firstSeed; seed < firstSeed + CANARY_SEEDS; seed++) {
    if (simulate(seed, { canary }).violation !== null) return seed;
  }
  return null;
}

export function runBatch(options: BatchOptions): BatchReport {
  const findings: string[] = [];
  const cells = new Set<string>();
  const faults = new Set<string>();
  let canariesFound = 0;
  for (const canary of CANARIES) {
    if (findCanary(canary, options.firstSeed) === null) {
      findings.push(`canary not found: ${canary.name}`);
    } else canariesFound++;
  }
  for (let seed = options.firstSeed; seed < options.firstSeed + REPLAYED; seed++) {
    const [first, second] = [
      simulate(seed, { isTracing: true }),
      simulate(seed, { isTracing: true }),
    ];
    if (first.trace.join('\n') !== second.trace.join('\n')) {
      findings.push(`seed ${String(seed)} runs differently the second time`);
    }
  }
  let schedules = 0;
  let events = 0;
  const startedMs = performance.now();
  while (schedules < options.seedsMax && !options.isTimeUp() && findings.length < FINDINGS_MAX) {
    const seed = options.firstSeed + schedules;
    const report = simulate(seed, { onTransition: (cell) => cells.add(cell) });
    for (const fault of report.struck.keys()) faults.add(fault);
    if (report.violation !== null) {
      findings.push(
        `seed ${String(seed)}: ${report.violation} (npm run sim -- --seed ${String(seed)} --trace)`,
      );
    }
    schedules++;
    events += report.events;
  }
  const elapsedMs = performance.now() - startedMs;
  if (schedules >= COVERAGE_SCHEDULES) {
    for (const cell of allCells()) {
      if (!cells.has(cell) && !OUTSIDE.has(cell)) findings.push(`never happened: ${cell}`);
    }
    for (const fault of FAULTS)
      if (!faults.has(fault)) findings.push(`fault never struck: ${fault}`);
  }
  return { schedules, events, elapsedMs, findings, canariesFound };
}
