/**
 * @file What a cell costs before it computes anything: `1 + 1` from a front end through the kernel and back, completion
 * while a cell spins, Stop. Against a bare ZeroMQ echo between two processes in the same run.
 */
import { JupyterClient } from '../test/integration/lib/jupyterClient.js';
import { startEcho } from './lib/echo.js';
import { measure } from './lib/measure.js';
import { report } from './lib/report.js';
import { summarise } from './lib/stats.js';

const PRINTS = 20_000;
const STOPS = 50;
const NS_PER_MS = 1e6;

const startedAtMs = performance.now();
const client = await JupyterClient.start({ env: { RAVENLAB_ENGINE: 'off' } });
await client.execute('1 + 1');
const startMs = performance.now() - startedAtMs;
const echo = await startEcho();

// The type checker loads in the background; figures are those of a warm kernel.
await client.execute('const rows = { count: 3, columns: ["a"] }');
await client.request('shell', 'complete_request', { code: 'rows.', cursor_pos: 5 });

const frames = [new Uint8Array(600), new Uint8Array(200)];
const replies: number[] = [];
const times = await measure(
  [
    {
      name: 'cell',
      run: async () => {
        replies.push((await client.execute('1 + 1')).replyMs * NS_PER_MS);
      },
    },
    { name: 'echo', run: () => echo.roundTrip(frames) },
  ],
  { samples: 300, warmUp: 50 },
);

const stops: number[] = [];
for (let round = 0; round < STOPS; round++) {
  const { done } = client.startExecute('while (true) {}');
  await new Promise((resolve) => setTimeout(resolve, 20));
  stops.push((await client.interrupt()) * NS_PER_MS);
  await done;
}

const spinning = client.startExecute('while (true) {}');
const completions: number[] = [];
for (let round = 0; round < 100; round++) {
  const askedAtMs = performance.now();
  await client.request('shell', 'complete_request', { code: 'rows.c', cursor_pos: 6 });
  completions.push((performance.now() - askedAtMs) * NS_PER_MS);
}
await client.interrupt();
await spinning.done;

const printed = await client.execute(`for (let i = 0; i < ${PRINTS}; i++) console.log(i)`);
const lines = printed.stdout.split('\n').length - 1;
await client.close();
echo.close();

const reply = summarise(replies);
const echoMs = times.echo.p50Ns / NS_PER_MS;
const completion = summarise(completions);
const stop = summarise(stops);
const baseline = { name: 'bare ZeroMQ echo, p50 ms', value: echoMs };
report(
  'kernel',
  [
    { name: 'echo', summary: times.echo },
    { name: '1 + 1, to idle', summary: times.cell },
    { name: '1 + 1, to reply', summary: reply },
    { name: 'completion while a cell spins', summary: completion },
    { name: 'Stop of a spinning cell', summary: stop },
  ],
  [
    { metric: 'replyP50Ms', value: reply.p50Ns / NS_PER_MS, baseline, atMost: 4 },
    { metric: 'completionP95Ms', value: completion.p95Ns / NS_PER_MS, baseline, atMost: 30 },
    { metric: 'stopP95Ms', value: stop.p95Ns / NS_PER_MS, baseline, atMost: 50 },
    { metric: 'startMs', value: startMs, baseline, atMost: 800 },
    { metric: 'printsMs', value: printed.idleMs, baseline, atMost: 1_000 },
  ],
  { printsLost: PRINTS - lines },
);
