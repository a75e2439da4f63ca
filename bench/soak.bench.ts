/**
 * @file Many units through four workers, two of which are killed and replaced all the time: does anything grow? Memory and
 * open files of the engine and of the workers that stay, as slopes; the engine's loop delay; and what is left when the
 * kernel is killed at the end. Beside the engine's loop delay stands that of an idle loop in the same run: the machine's part.
 */
import { readFileSync, readdirSync } from 'node:fs';
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { nowMs, sleep, until } from '../test/drill/lib/clock.js';
import { Rig } from '../test/drill/lib/rig.js';
import type { WorkerProcess } from '../test/drill/lib/workers.js';
import type { VitalSigns } from '../kernel/src/engine/vitals.js';
import { report } from './lib/report.js';
import type { Row, Verdict } from './lib/report.js';
import { growth, summarise } from './lib/stats.js';

const UNITS = Number(process.env['RAVENLAB_SOAK_UNITS'] ?? 20_000);
const STEADY = 2;
const CHURNING = 2;
/** Units before the first sample: programs compile, caches fill, heaps find their size. */
const WARM_UP_UNITS = UNITS / 2;
const SAMPLE_MS = 500;
const CHURN_EVERY_MS = 1_500;
const LINGER_MS = 1_000;
/** Growth from the first sample to the last by the fitted line, as a share of the mean. */
const FLAT_SHARE = 0.1;
const FLAT_FILES = 4;
/** Beyond what the machine costs an idle loop. */
const LOOP_DELAY_MS = 10;
const IDLE_RESOLUTION_MS = 5;
const MIB = 2 ** 20;

interface Sample {
  readonly units: number;
  readonly engineRssBytes: number;
  readonly engineFiles: number;
  readonly workersRssBytes: number;
  readonly workersFiles: number;
}

const isAlive = (pid: number): boolean => {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
};

function rssOf(pid: number): number {
  const kib = /^VmRSS:\s+(\d+) kB/m.exec(
    readFileSync(`/proc/${String(pid)}/status`, 'latin1'),
  )?.[1];
  return Number(kib ?? NaN) * 1024;
}

const filesOf = (pid: number): number => readdirSync(`/proc/${String(pid)}/fd`).length;

async function takeSample(rig: Rig, steady: readonly WorkerProcess[]): Promise<Sample> {
  const { counters, enginePid } = await rig.status();
  const sum = (of: (pid: number) => number): number =>
    steady.reduce((total, { pid }) => total + of(pid), 0);
  return {
    units: counters['unitsDone'] ?? 0,
    engineRssBytes: rssOf(enginePid),
    engineFiles: filesOf(enginePid),
    workersRssBytes: sum(rssOf),
    workersFiles: sum(filesOf),
  };
}

/** Kills and replaces the churning workers in turns until the units are done. */
async function soak(rig: Rig, steady: readonly WorkerProcess[]): Promise<Sample[]> {
  const samples: Sample[] = [];
  let churnAtMs = nowMs();
  for (;;) {
    await sleep(SAMPLE_MS);
    const sample = await takeSample(rig, steady);
    if (sample.units >= WARM_UP_UNITS) samples.push(sample);
    if (sample.units >= UNITS) return samples;
    if (nowMs() < churnAtMs) continue;
    churnAtMs = nowMs() + CHURN_EVERY_MS;
    const oldest = rig.running.find((worker) => !steady.includes(worker));
    oldest?.signal('SIGKILL');
    rig.spawn();
  }
}

/** Growth over the whole run by the fitted line. */
function grown(samples: readonly Sample[], of: (sample: Sample) => number): number {
  return growth(samples.map((sample) => [sample.units, of(sample)]));
}

/** Waits until nothing is leased, queued or on its way. @throws Error naming what is lost. */
async function idle(rig: Rig): Promise<void> {
  await until('an idle cluster', async () => {
    const { panel, sessions } = await rig.status();
    const { inFlightUnits, queuedUnits } = panel.cluster;
    return inFlightUnits + queuedUnits === 0 && sessions.every(({ leases }) => leases === 0);
  });
}

/** Kills the kernel and waits for the engine to end. @returns how long that took, ms. */
async function orphans(rig: Rig): Promise<number> {
  const { enginePid, localPids } = await rig.status();
  const pids = [enginePid, ...localPids];
  const at = nowMs();
  await rig.kernel.kill();
  await until('the end of the engine', () => !pids.some(isAlive), { timeoutMs: 20_000 });
  return nowMs() - at;
}

const rig = await Rig.start({
  model: 'mlp',
  workers: STEADY,
  env: { RAVENLAB_LINGER_MS: String(LINGER_MS) },
});
try {
  const steady = rig.running;
  await rig.join(CHURNING);
  rig.train();
  const vitals = async (): Promise<VitalSigns> =>
    (await rig.kernel.command('vitals')) as VitalSigns;
  // The first reading starts the measurement.
  await vitals();
  const idleLoop = monitorEventLoopDelay({ resolution: IDLE_RESOLUTION_MS });
  idleLoop.enable();
  const samples = await soak(rig, steady);
  const { loopDelayMs } = await vitals();
  idleLoop.disable();
  const idleP99Ms = Math.max(0, idleLoop.percentile(99) / 1e6 - IDLE_RESOLUTION_MS);
  rig.kernel.wrapUp();
  await rig.kernel.finished();
  await idle(rig);
  const endMs = await orphans(rig);
  const last = samples.at(-1);
  const first = samples[0];
  if (first === undefined || last === undefined) throw new Error('no sample was taken');
  const mean = (of: (sample: Sample) => number): number =>
    samples.reduce((sum, sample) => sum + of(sample), 0) / samples.length;
  const flat = (metric: string, of: (sample: Sample) => number): Verdict => ({
    metric: `${metric}GrowthMiB`,
    value: grown(samples, of) / MIB,
    baseline: { name: 'mean', value: mean(of) / MIB },
    atMost: (mean(of) / MIB) * FLAT_SHARE,
  });
  const files = (metric: string, of: (sample: Sample) => number): Verdict => ({
    metric: `${metric}OpenFilesGrowth`,
    value: grown(samples, of),
    baseline: { name: 'mean', value: mean(of) },
    atMost: FLAT_FILES,
  });
  const gapsNs = rig.kernel.steps
    .slice(1)
    .map(({ atMs }, i) => (atMs - (rig.kernel.steps[i]?.atMs ?? atMs)) * 1e6);
  const rows: Row[] = [{ name: 'training step under churn', summary: summarise(gapsNs) }];
  const verdicts: Verdict[] = [
    flat('engineRss', ({ engineRssBytes }) => engineRssBytes),
    flat('workersRss', ({ workersRssBytes }) => workersRssBytes),
    files('engine', ({ engineFiles }) => engineFiles),
    files('workers', ({ workersFiles }) => workersFiles),
    {
      metric: 'loopDelayP99Ms',
      value: loopDelayMs?.p99 ?? NaN,
      baseline: { name: 'an idle loop beside it', value: idleP99Ms },
      atMost: LOOP_DELAY_MS + idleP99Ms,
    },
    {
      metric: 'engineEndAfterKernelMs',
      value: endMs,
      baseline: { name: 'linger', value: LINGER_MS },
      atMost: LINGER_MS + 5_000,
    },
  ];
  report('soak', rows, verdicts, {
    units: last.units,
    samples: samples.length,
    loopDelayP50Ms: loopDelayMs?.p50 ?? NaN,
    loopDelayMaxMs: loopDelayMs?.max ?? NaN,
    departures: rig.workers.length - STEADY - CHURNING,
    engineRssMiBPer1000Units:
      grown(samples, ({ engineRssBytes }) => engineRssBytes) /
      MIB /
      ((last.units - first.units) / 1000),
    workersRssMiBPer1000Units:
      grown(samples, ({ workersRssBytes }) => workersRssBytes) /
      MIB /
      ((last.units - first.units) / 1000),
  });
} finally {
  await rig.close();
}
