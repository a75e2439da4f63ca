/**
 * @file What narrow gradients cost and save: the codecs alone beside a copy, then steps of one model on a real engine with a
 * local worker, the formats in turns. Here nothing is slow to send: what a step gains elsewhere is its bytes.
 */
import { Buffer } from 'node:buffer';
import type { NarrowFormat, WireFormat } from '@ravenlab/protocol';
import { NARROW, WIRE_FORMATS } from '@ravenlab/protocol';
import { cluster, data, manualSeed, nn, optim, tensor } from '../kernel/src/api/index.js';
import { installBenchSession } from './lib/apiSession.js';
import { startBenchEngine } from './lib/engine.js';
import { measure } from './lib/measure.js';
import type { Row, Verdict } from './lib/report.js';
import { report } from './lib/report.js';

const ELEMENTS = 1 << 20;
const FLOAT32_BYTES = 4 * ELEMENTS;
const BYTES_PER_MB = 1e6;
const NS_PER_S = 1e9;
const STEPS = 20;
const WARM_UP = 3;
/** One, so that every step is answered by as many sums. */
const WORKERS = 1;
const BATCH = 128;
/** Header, loss and pongs included. */
const SHARES: Readonly<Record<NarrowFormat, number>> = {
  bfloat16: 0.52,
  float16: 0.52,
  int8: 0.27,
};

const formats = Object.keys(NARROW) as NarrowFormat[];
const values = Float32Array.from(
  { length: ELEMENTS },
  (_, i) => Math.sin(i) * 2 ** ((i % 23) - 16),
);
const target = new Float32Array(ELEMENTS);
const bytes = new Uint8Array(FLOAT32_BYTES);

const contestants = formats.flatMap((format) => {
  const { round, encode, decode, sizeBytes } = NARROW[format];
  const room = bytes.subarray(0, sizeBytes(ELEMENTS));
  return [
    { name: `round ${format}`, run: () => round(target) },
    { name: `encode ${format}`, run: () => encode(values, room) },
    { name: `decode ${format}`, run: () => decode(room, target) },
  ];
});
const copy = {
  name: 'copy',
  run: () => Buffer.from(bytes.buffer).set(new Uint8Array(values.buffer)),
};
const codecs = await measure([copy, ...contestants], { samples: 15, warmUp: 5 });
const rows: Row[] = Object.entries(codecs).map(([name, summary]) => ({
  name: `${name}, 1 Mi values`,
  summary,
}));
const details: Record<string, number> = {};
for (const [name, { p50Ns }] of Object.entries(codecs)) {
  details[`${name} MB/s`] = Math.round((FLOAT32_BYTES / BYTES_PER_MB) * (NS_PER_S / p50Ns));
}

const engine = await startBenchEngine(WORKERS);
await installBenchSession(engine.client);
manualSeed(1);
const model = new nn.Sequential(
  ...[new nn.Linear(784, 512), new nn.ReLU(), new nn.Linear(512, 512), new nn.ReLU()],
  new nn.Linear(512, 10),
);
const optimizer = new optim.SGD(model.parameters(), { lr: 0.01 });
const rowsOf = (columns: number) =>
  tensor(
    Float32Array.from({ length: BATCH * columns }, (_, i) => Math.sin(i)),
    { shape: [BATCH, columns] },
  );
// Rows of a data set are cut into micro-shards and sent once; anything else would be a part of each step.
const [x, y] = data.dataset(rowsOf(784), rowsOf(10)).all();
await cluster.ready(WORKERS);

const received: Record<WireFormat, number> = { float32: 0, bfloat16: 0, float16: 0, int8: 0 };
async function step(wire: WireFormat): Promise<void> {
  cluster.wire = wire;
  nn.mse(model.call(x), y).backward();
  await optimizer.step();
}
/** Untimed, so that asking costs no step its time. */
for (const wire of WIRE_FORMATS) {
  await step(wire);
  const before = (await engine.status()).counters.receivedBytes;
  for (let i = 0; i < STEPS; i++) await step(wire);
  received[wire] = ((await engine.status()).counters.receivedBytes - before) / STEPS;
  details[`bytes a step, ${wire}`] = Math.round(received[wire]);
}
const steps = await measure(
  WIRE_FORMATS.map((wire) => ({ name: wire, run: () => step(wire) })),
  { samples: STEPS, warmUp: WARM_UP },
);
await engine.close();

const verdicts: Verdict[] = formats.flatMap((format) => [
  {
    metric: `${format}, bytes of a step's answers`,
    value: received[format],
    baseline: { name: 'float32', value: received.float32 },
    atMost: SHARES[format] * received.float32,
  },
  {
    metric: `${format}, step on this machine, p50Ns`,
    value: steps[format].p50Ns,
    baseline: { name: 'float32', value: steps.float32.p50Ns },
  },
]);
rows.push(...WIRE_FORMATS.map((wire) => ({ name: `step, ${wire}`, summary: steps[wire] })));
report('wire', rows, verdicts, details);
