/** @file Peers that mean harm, against a real engine at work and against its codec: who is honest does not notice. */
import { readFileSync } from 'node:fs';
import { GATE_LIMITS } from '@ravenlab/protocol';
import type { Crowd } from '../lib/attackers.js';
import { Insider, crowd } from '../lib/attackers.js';
import { nowMs, sleep } from '../lib/clock.js';
import type { Drill, DrillContext } from '../lib/drill.js';
import { Skip } from '../lib/drill.js';
import { fuzzHub } from '../lib/fuzz.js';
import { Rig, promisesOf } from '../lib/rig.js';
import type { Figure } from '../lib/verdict.js';
import { atMost, holds, none, note, time } from '../lib/verdict.js';

const FRAMES = 1_000_000;
const SHORT_FRAMES = 50_000;
const CONNECTIONS = 3_000;
const SHORT_CONNECTIONS = 300;
/** Insiders that flood at the same time, and MiB that each of them sends without an end of the message. */
const INSIDERS = 4;
const FLOOD_MIB = 256;
/** Frames without a byte in one message: many thousand times what a message may have. */
const DUST_FRAMES = 500_000;
const SERVED_MS = 100;
const MIB = 2 ** 20;
/** What the engine may grow by: what each insider may have under way, twice, and what libraries keep. */
const GROWTH_MIB = 2 * INSIDERS * (GATE_LIMITS.memberBytes / MIB) + 128;
const PROBE_MS = 20;
/** Time in which steps are watched, before and during the crowd. */
const WATCHED_MS = 4_000;

/** Resident memory of a process, MiB. @throws Skip where /proc does not say. */
function residentMib(pid: number): number {
  try {
    const kib = /^VmRSS:\s+(\d+) kB$/m.exec(
      readFileSync(`/proc/${String(pid)}/status`, 'utf8'),
    )?.[1];
    return Number(kib) / 1024;
  } catch {
    throw new Skip('memory of another process cannot be read here; it takes Linux');
  }
}

/** Steps between two moments, and the longest and nearly longest time that one took; ms. */
function served(rig: Rig, fromMs: number): { steps: number; nearly: number; longest: number } {
  const times = rig.kernel.steps.map(({ atMs }) => atMs).filter((at) => at >= fromMs);
  const gaps = times.slice(1).map((at, i) => at - (times[i] ?? at));
  gaps.sort((a, b) => a - b);
  return {
    steps: gaps.length,
    nearly: gaps[Math.floor(0.99 * gaps.length)] ?? NaN,
    longest: gaps.at(-1) ?? NaN,
  };
}

/** Insiders that join and then send what does not end. @returns when they are through. */
async function floods(rig: Rig, attackers: Insider[]): Promise<void> {
  for (let i = 0; i < INSIDERS; i++) {
    const attacker = new Insider(rig.invitation);
    attackers.push(attacker);
    // One of them does not even introduce itself.
    if (i > 0) await attacker.join();
  }
  await sleep(500);
  for (const attacker of attackers) void attacker.flood(FLOOD_MIB).catch(() => undefined);
  await sleep(GATE_LIMITS.stuckMs + 1_500);
  const dusty = new Insider(rig.invitation);
  attackers.push(dusty);
  await dusty.join();
  await dusty.dust(DUST_FRAMES);
  const oversized = new Insider(rig.invitation);
  attackers.push(oversized);
  await oversized.say([new Uint8Array(8 * MIB)]);
  await sleep(1_000);
}

async function strangers({ isShort, say }: DrillContext): Promise<Figure[]> {
  const rig = await Rig.start({ model: 'mlp', workers: 1 });
  const attackers: Insider[] = [];
  let mob: Crowd | null = null;
  const watch = { isOn: true };
  try {
    rig.train();
    await rig.kernel.reached(50);
    const { enginePid } = await rig.status();
    const before = residentMib(enginePid);
    const quiet = nowMs();
    await sleep(WATCHED_MS);
    const undisturbed = served(rig, quiet);
    let peak = before;
    const watching = (async () => {
      while (watch.isOn) {
        peak = Math.max(peak, residentMib(enginePid));
        await sleep(PROBE_MS);
      }
    })();
    const at = nowMs();
    mob = await crowd(rig.invitation, isShort ? SHORT_CONNECTIONS : CONNECTIONS);
    const madeMs = nowMs() - at;
    say(
      `${String(mob.made)} connections in ${madeMs.toFixed(0)} ms, ${String(mob.ended)} ended so far`,
    );
    await sleep(Math.max(0, at + WATCHED_MS - nowMs()));
    const duringCrowd = served(rig, at);
    const afterCrowd = peak;
    // Processes that start take what the machine has: steps are measured without one.
    const came = nowMs();
    const joined = await rig.present(rig.spawn());
    await sleep(1_000);
    say(
      `engine ${before.toFixed(0)} MiB, ${peak.toFixed(0)} MiB with the crowd; a newcomer joined`,
    );
    const flooded = nowMs();
    await floods(rig, attackers);
    const duringFlood = served(rig, flooded);
    say(`engine ${peak.toFixed(0)} MiB at most with ${String(INSIDERS)} floods`);
    await sleep(GATE_LIMITS.strangerMs - Math.min(GATE_LIMITS.strangerMs, nowMs() - at));
    watch.isOn = false;
    await watching;
    const { counters, enginePid: pidNow } = await rig.status();
    const figures = await promisesOf(rig);
    return [
      note('connections half-open or of garbage', mob.made),
      holds('every one of them was ended', mob.ended === mob.made),
      note('a newcomer is a member during the crowd, after ms', joined - came),
      holds('the engine is the same process', pidNow === enginePid),
      note('messages refused', counters['badMessages'] ?? 0),
      note('99 % of steps before ms', undisturbed.nearly),
      note('steps during the crowd', duringCrowd.steps),
      time('99 % of steps during the crowd ms', duringCrowd.nearly, SERVED_MS),
      note('longest step during the crowd ms', duringCrowd.longest),
      note('steps during the floods', duringFlood.steps),
      time('99 % of steps during the floods ms', duringFlood.nearly, SERVED_MS),
      note('longest step during the floods ms', duringFlood.longest),
      note('engine before MiB', Math.round(before)),
      atMost('engine grew with the crowd MiB', Math.round(afterCrowd - before), GROWTH_MIB),
      note('floods MiB', INSIDERS * FLOOD_MIB),
      atMost('engine grew with the floods MiB', Math.round(peak - before), GROWTH_MIB),
      ...figures,
    ];
  } finally {
    watch.isOn = false;
    mob?.close();
    for (const attacker of attackers) attacker.close();
    await rig.close();
  }
}

function fuzz({ prng, isShort, say }: DrillContext): Promise<Figure[]> {
  // What was compiled and allocated once does not count.
  fuzzHub(prng, SHORT_FRAMES / 10);
  const before = process.memoryUsage().rss;
  const at = nowMs();
  const report = fuzzHub(prng, isShort ? SHORT_FRAMES : FRAMES);
  const tookMs = nowMs() - at;
  const grown = (process.memoryUsage().rss - before) / MIB;
  say(`${String(report.frames)} frames in ${tookMs.toFixed(0)} ms`);
  return Promise.resolve([
    note('frames', report.frames),
    note('messages', report.messages),
    note('refused', report.refused),
    note('connections', report.connections),
    note('µs a message', (1000 * tookMs) / report.messages),
    none('errors that were no refusal', report.escaped),
    none('entries left in the hub', report.left),
    atMost('memory grew MiB', Math.max(0, Math.round(grown)), 256),
  ]);
}

export const HOSTILES: readonly Drill[] = [
  {
    name: 'fuzz',
    title: '1,000,000 fuzzed frames through codec and hub',
    isInShort: true,
    run: fuzz,
  },
  {
    name: 'hostile',
    title:
      '3,000 half-open or garbage connections, and messages without an end, against an engine at work',
    isInShort: false,
    run: strangers,
  },
];
