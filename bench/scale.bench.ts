/**
 * @file What a unit costs the engine as workers grow from 10 to 200. The workers are light peers: real sockets, the real
 * protocol, no arithmetic, so that the engine is what is measured. Its processor time a unit with 10 workers is the baseline.
 */
import type { ChildProcess } from 'node:child_process';
import { fork } from 'node:child_process';
import { createHash } from 'node:crypto';
import { fileURLToPath } from 'node:url';
import type { ExecutionPlan, ProgramHash, TensorType } from '@ravenlab/protocol';
import { encodeProgram } from '@ravenlab/protocol';
import { typeScriptArgs } from '../scripts/lib/typescript.mjs';
import type { BenchEngine, Vitals } from './lib/engine.js';
import { startBenchEngine } from './lib/engine.js';
import { report } from './lib/report.js';
import type { Row, Verdict } from './lib/report.js';
import { summarise } from './lib/stats.js';

const COUNTS = [10, 50, 200] as const;
const UNITS = 1_024;
const IN_FLIGHT = 2;
const WARM_UP_UNITS = 8 * UNITS;
const MEASURED_UNITS = 48 * UNITS;
const PEERS = fileURLToPath(new URL('./lib/peers.ts', import.meta.url));

const rows = (count: number): TensorType => ({ dtype: 'float32', shape: [count] });
const bytes = encodeProgram({
  inputs: [rows(1)],
  nodes: [{ op: 'neg', inputs: [0], params: {}, type: rows(1) }],
  outputs: [1],
});
const hash = createHash('sha256').update(bytes).digest('hex') as ProgramHash;
const plan: ExecutionPlan = {
  programs: [hash],
  inputs: [{ kind: 'inline', type: rows(UNITS), data: new Float32Array(UNITS), shardAxis: 0 }],
  outputs: [{ combine: 'concat', axis: 0, type: rows(UNITS), deliver: true }],
  shards: Array.from({ length: UNITS }, (_, offset) => ({ program: 0, offset, size: 1 })),
  updates: [],
  clips: [],
  step: null,
};

interface Scale {
  readonly unitsPerSecond: number;
  /** Processor time of the engine's process, µs. */
  readonly cpuUsPerUnit: number;
  readonly vitals: Vitals;
  readonly executionsNs: readonly number[];
}

/** Runs executions, some at a time. @returns how long each took, ns. */
async function run(engine: BenchEngine, units: number): Promise<number[]> {
  let left = units / UNITS;
  const times: number[] = [];
  const lane = async (): Promise<void> => {
    while (left-- > 0) {
      const startedMs = performance.now();
      await engine.client.request({ kind: 'execute', plan });
      times.push((performance.now() - startedMs) * 1e6);
    }
  };
  await Promise.all(Array.from({ length: IN_FLIGHT }, lane));
  return times;
}

function startPeers(endpoint: string, count: number): ChildProcess {
  const execArgv = typeScriptArgs(PEERS).slice(0, -1);
  return fork(PEERS, [endpoint, String(count)], { execArgv });
}

async function measureScale(count: number): Promise<Scale> {
  const engine = await startBenchEngine(0);
  const { endpoint } = await engine.status();
  const peers = startPeers(endpoint, count);
  try {
    await engine.client.request({ kind: 'defineProgram', hash, bytes });
    while ((await engine.status()).sessions.length < count) {
      if (peers.exitCode !== null) throw new Error('the peers ended');
      await new Promise((wake) => setTimeout(wake, 20));
    }
    await run(engine, WARM_UP_UNITS);
    const before = await engine.vitals();
    const startedMs = performance.now();
    const executionsNs = await run(engine, MEASURED_UNITS);
    const seconds = (performance.now() - startedMs) / 1000;
    const vitals = await engine.vitals();
    const cpuUsPerUnit = ((vitals.cpuMs - before.cpuMs) * 1000) / MEASURED_UNITS;
    return { unitsPerSecond: MEASURED_UNITS / seconds, cpuUsPerUnit, vitals, executionsNs };
  } finally {
    peers.kill('SIGKILL');
    await engine.close();
  }
}

const scales = new Map<number, Scale>();
const table: Row[] = [];
const details: Record<string, number> = { unitsPerExecution: UNITS, executionsInFlight: IN_FLIGHT };
for (const count of COUNTS) {
  const scale = await measureScale(count);
  scales.set(count, scale);
  const { loopDelayMs } = scale.vitals;
  const rate = Math.round(scale.unitsPerSecond);
  details[`unitsPerSecond${String(count)}`] = rate;
  details[`cpuUsPerUnit${String(count)}`] = Math.round(scale.cpuUsPerUnit * 10) / 10;
  details[`loopDelayP99Ms${String(count)}`] = Math.round((loopDelayMs?.p99 ?? NaN) * 100) / 100;
  details[`loopDelayMaxMs${String(count)}`] = Math.round((loopDelayMs?.max ?? NaN) * 100) / 100;
  details[`rssMiB${String(count)}`] = Math.round(scale.vitals.rssBytes / 2 ** 20);
  table.push({
    name: `${String(count)} workers, ${String(UNITS)} units (${String(rate)} units/s)`,
    summary: summarise(scale.executionsNs),
  });
}
const [fewest] = COUNTS;
const base = scales.get(fewest)?.cpuUsPerUnit ?? NaN;
const verdicts: Verdict[] = COUNTS.slice(1).map((count) => ({
  metric: `cpuUsPerUnit${String(count)}`,
  value: scales.get(count)?.cpuUsPerUnit ?? NaN,
  baseline: { name: `${String(fewest)} workers`, value: base },
  // No faster than linearly in the number of workers.
  atMost: base * (count / fewest),
}));
report('scale', table, verdicts, details);
