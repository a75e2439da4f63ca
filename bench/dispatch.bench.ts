/**
 * @file The price of a unit that does nothing: kernel's main thread, engine, worker process, its compute thread, and back.
 * Against a bare ZeroMQ echo between two processes in the same run, so the ratio holds on a busy machine too. Wall time depends
 * on who else runs; CPU time and sleeps of each process hardly do: they tell what a change is worth.
 */
import { createHash } from 'node:crypto';
import type { ExecutionPlan, ProgramHash, TensorType } from '@ravenlab/protocol';
import { encodeProgram } from '@ravenlab/protocol';
import { startEcho } from './lib/echo.js';
import { startBenchEngine } from './lib/engine.js';
import { measure } from './lib/measure.js';
import { costPerCall } from './lib/processCost.js';
import { report } from './lib/report.js';

/** Units of one execution, and executions in flight: a large batch cut into micro-shards, several steps of a loader ahead. */
const UNITS = 64;
const IN_FLIGHT = 16;
const PIPELINED_UNITS = 60_000;
const COST_UNITS = 2_000;

const rows = (count: number): TensorType => ({ dtype: 'float32', shape: [count] });
const bytes = encodeProgram({
  inputs: [rows(1)],
  nodes: [{ op: 'neg', inputs: [0], params: {}, type: rows(1) }],
  outputs: [1],
});
const hash = createHash('sha256').update(bytes).digest('hex') as ProgramHash;

/** `count` units of one row each. */
function noOp(count: number): ExecutionPlan {
  return {
    programs: [hash],
    inputs: [{ kind: 'inline', type: rows(count), data: new Float32Array(count), shardAxis: 0 }],
    outputs: [{ combine: 'concat', axis: 0, type: rows(count), deliver: true }],
    shards: Array.from({ length: count }, (_, offset) => ({ program: 0, offset, size: 1 })),
    updates: [],
    clips: [],
    step: null,
  };
}

const engine = await startBenchEngine(1);
const echo = await startEcho();
const run = (count: number) => engine.client.request({ kind: 'execute', plan: noOp(count) });
await engine.client.request({ kind: 'defineProgram', hash, bytes });

const frames = [new Uint8Array(200), new Uint8Array(4)];
const times = await measure(
  [
    { name: 'unit', run: () => run(1) },
    // Answered by the engine at once: what a unit pays for the way to it and back.
    { name: 'engine', run: () => engine.client.request({ kind: 'dropData', dataIds: [] }) },
    { name: 'echo', run: () => echo.roundTrip(frames) },
  ],
  // V8 has compiled what is hot after some thousand units.
  { samples: 2_000, warmUp: 2_000 },
);

const { enginePid, localPids } = await engine.status();
const cost = await costPerCall(
  { kernel: process.pid, engine: enginePid, worker: localPids[0] ?? 0 },
  () => run(1),
  COST_UNITS,
);

/** Keeps IN_FLIGHT executions of UNITS units going until all units are done. @returns units per second. */
async function pipelined(): Promise<number> {
  let left = Math.ceil(PIPELINED_UNITS / UNITS);
  const started = performance.now();
  const lane = async (): Promise<void> => {
    while (left > 0) {
      left--;
      await run(UNITS);
    }
  };
  await Promise.all(Array.from({ length: IN_FLIGHT }, lane));
  return (PIPELINED_UNITS * 1000) / (performance.now() - started);
}

await run(UNITS);
const rates = [await pipelined(), await pipelined(), await pipelined()].sort((a, b) => a - b);
const { sessions } = await engine.status();
echo.close();
await engine.close();

if (cost === null) console.log('CPU time and sleeps are not known: this system has no /proc');
for (const [name, { cpuUs, sleeps }] of Object.entries(cost ?? {})) {
  console.log(
    `a unit costs the ${name} ${cpuUs.toFixed(0)} us of CPU and ${sleeps.toFixed(1)} sleeps`,
  );
}
report(
  'dispatch',
  [
    { name: 'no-op unit, sync', summary: times.unit },
    { name: 'engine and back', summary: times.engine },
    { name: 'zeromq echo', summary: times.echo },
  ],
  [
    {
      metric: 'syncP50Ms',
      value: times.unit.p50Ns / 1e6,
      baseline: { name: 'zeromq DEALER/ROUTER echo', value: times.echo.p50Ns / 1e6 },
      atMost: 1,
    },
    {
      metric: 'unitsPerSecond',
      value: rates[1] ?? 0,
      baseline: { name: 'echo round trips per second', value: 1e9 / times.echo.meanNs },
      atLeast: 10_000,
    },
  ],
  {
    unitsPerExecution: UNITS,
    executionsInFlight: IN_FLIGHT,
    programsSent: sessions.reduce((sum, session) => sum + session.programsSent, 0),
    ...Object.fromEntries(
      Object.entries(cost ?? {}).flatMap(([name, { cpuUs, sleeps }]) => [
        [`${name}CpuUs`, Number(cpuUs.toFixed(1))],
        [`${name}Sleeps`, Number(sleeps.toFixed(2))],
      ]),
    ),
  },
);
