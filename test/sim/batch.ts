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
import { findsItsBug } from './scenarios.js';
import type { Scenario } from './scenarios.js';
import { simulate, simulatePlan } from './simulate.js';

/** Schedules within which every canary must be found. */
const CANARY_SEEDS = 5_000;
/** Below this many schedules, coverage is not judged: rare pairs need luck. */
const COVERAGE_SCHEDULES = 10_000;
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
  /** By file name; those of planted bugs spare the search for them. */
  readonly scenarios: ReadonlyMap<string, Scenario>;
}

export interface BatchReport {
  readonly schedules: number;
  readonly events: number;
  /** Time of the schedules alone, without canaries and replays; ms. */
  readonly elapsedMs: number;
  readonly findings: readonly string[];
  readonly canariesFound: number;
  /** Pairs of the tables that were never visited; empty also when there were too few schedules to say. */
  readonly unvisited: readonly string[];
}

/** Seed that finds the canary, or null. */
export function findCanary(canary: Canary, firstSeed: number): number | null {
  for (let seed = firstSeed; seed < firstSeed + CANARY_SEEDS; seed++) {
    if (simulate(seed, { canary }).violation !== null) return seed;
  }
  return null;
}

/** Whether a seed gives the same schedule again, to the last effect. */
export function isReplayable(seed: number): boolean {
  const [first, second] = [
    simulate(seed, { isTracing: true }),
    simulate(seed, { isTracing: true }),
  ];
  return first.trace.join('\n') === second.trace.join('\n');
}

/** Kept schedules count for coverage: some are kept because they go where few others do. */
function checkScenarios(
  scenarios: ReadonlyMap<string, Scenario>,
  cells: Set<string>,
  findings: string[],
): number {
  const found = new Set<string>();
  for (const [file, scenario] of scenarios) {
    const { violation } = simulatePlan(scenario.plan, { onTransition: (cell) => cells.add(cell) });
    if (violation !== null) findings.push(`scenario ${file}: ${violation}`);
    if (scenario.bug !== null && findsItsBug(scenario)) found.add(scenario.bug);
  }
  for (const canary of CANARIES) {
    if (found.has(canary.name)) continue;
    if (findCanary(canary, 1) === null) findings.push(`canary not found: ${canary.name}`);
    else found.add(canary.name);
  }
  return found.size;
}

export function runBatch(options: BatchOptions): BatchReport {
  const findings: string[] = [];
  const cells = new Set<string>();
  const faults = new Set<string>();
  const canariesFound = checkScenarios(options.scenarios, cells, findings);
  for (let seed = options.firstSeed; seed < options.firstSeed + REPLAYED; seed++) {
    if (!isReplayable(seed)) findings.push(`seed ${String(seed)} runs differently the second time`);
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
  const isJudged = schedules >= COVERAGE_SCHEDULES;
  const unvisited = allCells().filter((cell) => isJudged && !cells.has(cell) && !OUTSIDE.has(cell));
  for (const cell of unvisited) findings.push(`never happened: ${cell}`);
  for (const fault of FAULTS) {
    if (isJudged && !faults.has(fault)) findings.push(`fault never struck: ${fault}`);
  }
  return { schedules, events, elapsedMs, findings, canariesFound, unvisited };
}
