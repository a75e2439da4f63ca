/** @file `npm run sim`: schedules for a time or a count, coverage, canaries, replay of one seed. */
import { parseArgs } from 'node:util';
import { runBatch } from './batch.js';
import { simulate } from './simulate.js';

const { values } = parseArgs({
  options: {
    seconds: { type: 'string', default: '20' },
    seeds: { type: 'string' },
    first: { type: 'string', default: '1' },
    seed: { type: 'string' },
    trace: { type: 'boolean', default: false },
  },
});

if (values.seed !== undefined) {
  const report = simulate(Number(values.seed), { isTracing: values.trace });
  for (const line of report.trace) console.log(line);
  console.log(JSON.stringify({ ...report, trace: undefined, struck: [...report.struck] }, null, 2));
  process.exit(report.violation === null ? 0 : 1);
}

const startedMs = Date.now();
const secondsMax = Number(values.seconds);
const batch = runBatch({
  firstSeed: Number(values.first),
  seedsMax: values.seeds === undefined ? Infinity : Number(values.seeds),
  isTimeUp: () => values.seeds === undefined && Date.now() - startedMs > secondsMax * 1000,
});
for (const finding of batch.findings) console.log(finding);
const perSecond = Math.round((batch.schedules / Math.max(1, batch.elapsedMs)) * 1000);
console.log(
  `${String(batch.schedules)} schedules, ${String(perSecond)}/s, ${String(batch.events)} events, ` +
    `${String(batch.findings.length)} findings, ${String(batch.canariesFound)} canaries found`,
);
process.exit(batch.findings.length === 0 ? 0 : 1);
