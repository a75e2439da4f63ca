/**
 * @file Simulated schedules per second of one core, against a bare event heap that runs as many empty callbacks: what is left
 * is the price of the real scheduler, ledger and journal with all their checks. CPU time, so that a busy machine counts less.
 */
import { EventHeap } from '../test/sim/eventHeap.js';
import { simulate } from '../test/sim/simulate.js';
import { measure } from './lib/measure.js';
import { report } from './lib/report.js';

/** The simulator runs for minutes and hours: what the compiler takes at its start is not the price of a schedule. */
const WARM_UP_SEEDS = 10_000;
const SEEDS = 10_000;
const SEEDS_PER_SAMPLE = 50;
const HEAP_DEPTH = 40;
const DELAYS = 101;

interface Total {
  schedules: number;
  events: number;
  callbacks: number;
  virtualMs: number;
}

function runSeeds(first: number, count: number): Total {
  const total: Total = { schedules: count, events: 0, callbacks: 0, virtualMs: 0 };
  for (let seed = first; seed < first + count; seed++) {
    const schedule = simulate(seed);
    if (schedule.violation !== null) throw new Error(`seed ${String(seed)}: ${schedule.violation}`);
    total.events += schedule.events;
    total.callbacks += schedule.callbacks;
    total.virtualMs += schedule.virtualMs;
  }
  return total;
}

/** As many callbacks as a schedule has, a usual number of them waiting. */
function runEmpty(callbacks: number): void {
  const heap = new EventHeap();
  const nothing = (): void => undefined;
  for (let i = 0; i < HEAP_DEPTH; i++) heap.at(i, nothing);
  for (let i = 0; i < callbacks; i++) {
    heap.after((i * 7919) % DELAYS, nothing);
    heap.runNext();
  }
}

/** @returns calls of `run` per second of CPU time. */
function perCpuSecond(calls: number, run: () => void): number {
  const before = process.cpuUsage();
  run();
  const { user, system } = process.cpuUsage(before);
  return (calls * 1e6) / (user + system);
}

runSeeds(1, WARM_UP_SEEDS);
let total: Total = { schedules: 0, events: 0, callbacks: 0, virtualMs: 0 };
const schedulesPerSecond = perCpuSecond(SEEDS, () => {
  total = runSeeds(1, SEEDS);
});
const callbacks = Math.round(total.callbacks / SEEDS);
const emptyPerSecond = perCpuSecond(SEEDS, () => {
  for (let i = 0; i < SEEDS; i++) runEmpty(callbacks);
});
let seed = 1;
const times = await measure(
  [
    { name: 'schedules', run: () => runSeeds((seed += SEEDS_PER_SAMPLE), SEEDS_PER_SAMPLE) },
    {
      name: 'empty',
      run: () => {
        for (let i = 0; i < SEEDS_PER_SAMPLE; i++) runEmpty(callbacks);
      },
    },
  ],
  { samples: 50, warmUp: 5 },
);

report(
  'sim',
  [
    { name: `${String(SEEDS_PER_SAMPLE)} schedules`, summary: times.schedules },
    { name: 'as many empty callbacks', summary: times.empty },
  ],
  [
    {
      metric: 'schedulesPerCpuSecond',
      value: schedulesPerSecond,
      baseline: { name: 'event heap with empty callbacks', value: emptyPerSecond },
      atLeast: 2_000,
    },
  ],
  {
    eventsPerSchedule: total.events / SEEDS,
    callbacksPerSchedule: callbacks,
    virtualMsPerSchedule: Math.round(total.virtualMs / SEEDS),
  },
);
