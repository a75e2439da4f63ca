/**
 * @file `npm run sim`: schedules for a time or a count, coverage, scenarios, replay of one seed. `--seed N --trace` tells one
 * schedule, `--seed N --shrink` makes a failing one small and keeps it, `--canaries` looks for every planted bug from seed 1
 * and keeps a small schedule that finds it.
 */
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { findCanary, runBatch } from './batch.js';
import { CANARIES } from './canaries.js';
import { drawPlan } from './plan.js';
import { readScenarios, slugOf, writeScenario } from './scenarios.js';
import { shrink } from './shrink.js';
import { simulate } from './simulate.js';

const SCENARIOS = fileURLToPath(new URL('./scenarios', import.meta.url));

const { values } = parseArgs({
  options: {
    seconds: { type: 'string', default: '20' },
    seeds: { type: 'string' },
    first: { type: 'string', default: '1' },
    seed: { type: 'string' },
    trace: { type: 'boolean', default: false },
    shrink: { type: 'boolean', default: false },
    canaries: { type: 'boolean', default: false },
  },
});

function tellSeed(seed: number): number {
  const report = simulate(seed, { isTracing: values.trace });
  for (const line of report.trace) console.log(line);
  console.log(JSON.stringify({ ...report, trace: undefined, struck: [...report.struck] }, null, 2));
  if (report.violation !== null && values.shrink) {
    const { plan, violation, steps } = shrink(report.plan);
    const scenario = { bug: null, found: violation, plan };
    const file = writeScenario(SCENARIOS, `seed-${String(seed)}`, scenario);
    console.log(`${violation}\nshrunk in ${String(steps)} steps: ${file}`);
  }
  return report.violation === null ? 0 : 1;
}

/** @returns how many were not found. */
function searchCanaries(): number {
  let missing = 0;
  for (const canary of CANARIES) {
    const seed = findCanary(canary, 1);
    if (seed === null) {
      missing++;
      console.log(`NOT FOUND: ${canary.name}`);
      continue;
    }
    const { plan, violation, steps } = shrink(drawPlan(seed), canary);
    const [found = ''] = violation.split('\n');
    writeScenario(SCENARIOS, slugOf(canary.name), { bug: canary.name, found, plan });
    console.log(`seed ${String(seed)}, ${String(steps)} shrinks: ${canary.name}: ${found}`);
  }
  return missing;
}

function runMany(): number {
  const startedMs = Date.now();
  const secondsMax = Number(values.seconds);
  const batch = runBatch({
    firstSeed: Number(values.first),
    seedsMax: values.seeds === undefined ? Infinity : Number(values.seeds),
    isTimeUp: () => values.seeds === undefined && Date.now() - startedMs > secondsMax * 1000,
    scenarios: readScenarios(SCENARIOS),
  });
  for (const finding of batch.findings) console.log(finding);
  const perSecond = Math.round((batch.schedules / Math.max(1, batch.elapsedMs)) * 1000);
  console.log(
    `${String(batch.schedules)} schedules, ${String(perSecond)}/s, ${String(batch.events)} events, ` +
      `${String(batch.findings.length)} findings, ${String(batch.canariesFound)} canaries found`,
  );
  return batch.findings.length;
}

if (values.seed !== undefined) process.exit(tellSeed(Number(values.seed)));
else if (values.canaries) process.exit(searchCanaries() === 0 ? 0 : 1);
else process.exit(runMany() === 0 ? 0 : 1);
