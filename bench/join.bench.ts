/**
 * @file How long it takes from `ravenlab worker join` in a terminal to a row in the panel: the process starts, measures its
 * device (or remembers it), connects over CURVE and is welcomed. Against the start of an empty Node process.
 */
import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { startBenchEngine } from './lib/engine.js';
import { measure } from './lib/measure.js';
import { report } from './lib/report.js';

const BAR_MS = 2_000;
const POLL_MS = 10;
const CLI = fileURLToPath(new URL('../worker/dist/cli.js', import.meta.url));

const engine = await startBenchEngine(0);
const home = mkdtempSync(join(tmpdir(), 'ravenlab-join-'));
const reply = await engine.client.request({ kind: 'command', op: 'invite', args: {} });
if (reply.kind !== 'result') throw new Error(`invite answered with ${reply.kind}`);
const { command } = reply.value as { command: string };
const invite = command.split(' ').at(-1) ?? '';

/** Resolves when the panel's state has so many workers that are here. */
async function panelShows(count: number): Promise<void> {
  for (;;) {
    const here = engine.client.state().contributors.filter((each) => each.state !== 'gone');
    if (here.length === count) return;
    await new Promise((wake) => setTimeout(wake, POLL_MS));
  }
}

let worker: ChildProcess | null = null;

async function joinOnce(): Promise<void> {
  worker = spawn(process.execPath, [CLI, 'join', invite, '--threads', '1'], {
    env: { ...process.env, RAVENLAB_HOME: home },
    stdio: 'ignore',
  });
  await panelShows(1);
}

async function leaveOnce(): Promise<void> {
  worker?.kill('SIGKILL');
  await panelShows(0);
}

async function nodeOnce(): Promise<void> {
  await once(spawn(process.execPath, ['-e', '']), 'exit');
}

const times = await measure(
  [
    { name: 'join', run: joinOnce },
    { name: 'leave', run: leaveOnce },
    { name: 'node', run: nodeOnce },
  ],
  { samples: 8, warmUp: 1 },
);
await engine.close();
rmSync(home, { recursive: true, force: true });
report(
  'join',
  [
    { name: 'start to a row in the panel', summary: times.join },
    { name: 'SIGKILL to a row that is gone', summary: times.leave },
    { name: 'an empty Node process', summary: times.node },
  ],
  [
    {
      metric: 'joinP50Ms',
      value: times.join.p50Ns / 1e6,
      baseline: { name: 'an empty Node process', value: times.node.p50Ns / 1e6 },
      atMost: BAR_MS,
    },
  ],
);
