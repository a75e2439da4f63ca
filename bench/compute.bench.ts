/**
 * @file What our Executable costs above ONNX Runtime's own session on the same model and the same inputs, and how fast
 * a large matrix product is.
 */
import { cpus } from 'node:os';
import { InferenceSession, Tensor } from 'onnxruntime-node';
import type { Program, TensorData } from '@ravenlab/protocol';
import { inferOp, valueType } from '@ravenlab/protocol';
import { processorKernels } from '../worker/src/compute/onnx/processorKernels.js';
import { lowerProgram } from '../worker/src/compute/onnx/lower.js';
import { openBackend } from '../worker/src/compute/openBackend.js';
import { measure } from './lib/measure.js';
import type { Row, Verdict } from './lib/report.js';
import { report } from './lib/report.js';
import type { TrainStep } from './lib/trainStep.js';
import { cnnStep, mlpStep, productStep } from './lib/trainStep.js';

const THREADS = cpus().length;
const OVERHEAD_US = 60;
const SIDE = 1024;
const WIDTH = 40;
const NS_PER_US = 1000;

const FLOATS = { dtype: 'float32', shape: [4] } as const;

/** One input, one node: nothing but overhead. */
function tiny(): TrainStep {
  const params = { axes: [0], keepDims: false };
  const node = { op: 'sum', inputs: [0], params, type: inferOp('sum', [FLOATS], params) } as const;
  const program = { inputs: [FLOATS], nodes: [node], outputs: [1] };
  return { name: 'tiny', program, inputs: [Float32Array.of(1, 2, 3, 4)] };
}

/** As many inputs and outputs as a model of twenty layers, and next to no arithmetic. */
function wide(): TrainStep {
  const types = Array.from({ length: WIDTH }, () => FLOATS);
  const nodes = types.map((type, i) => ({ op: 'neg' as const, inputs: [i], params: {}, type }));
  const outputs = types.map((_, i) => WIDTH + i);
  const inputs = types.map((_, i) => Float32Array.of(i, 1, 2, 3));
  return {
    name: `${WIDTH} inputs and outputs`,
    program: { inputs: types, nodes, outputs },
    inputs,
  };
}

/** The public API on the same bytes: what anyone who uses ONNX Runtime directly would get. */
async function rawSession(
  program: Program,
  inputs: readonly TensorData[],
): Promise<() => Promise<unknown>> {
  const model = lowerProgram(program, processorKernels());
  const session = await InferenceSession.create(model.bytes.slice(), {
    graphOptimizationLevel: 'all',
    intraOpNumThreads: THREADS,
    interOpNumThreads: 1,
    // Threads that spin on after a run would be in the way of the other's.
    extra: { session: { force_spinning_stop: '1' } },
  });
  const feeds: Record<string, Tensor> = {};
  for (const feed of model.feeds) {
    if (feed.kind !== 'input') throw new Error('the raw session draws no random numbers');
    const { dtype, shape } = valueType(program, feed.index);
    feeds[feed.name] = new Tensor(dtype, inputs[feed.index] as never, shape);
  }
  return () => session.run(feeds);
}

const overhead = [tiny(), wide()];
const OVERHEAD: ReadonlySet<string> = new Set(overhead.map(({ name }) => name));
const cases: readonly TrainStep[] = [
  ...overhead,
  mlpStep(32),
  mlpStep(128),
  cnnStep(64),
  productStep(SIDE),
];

const backend = await openBackend('onnx-cpu', { threads: THREADS });
const rows: Row[] = [];
const verdicts: Verdict[] = [];
for (const { name, program, inputs } of cases) {
  const executable = backend.compile(program);
  const raw = await rawSession(program, inputs);
  const isOverhead = OVERHEAD.has(name);
  const times = await measure(
    [
      { name: 'ours', run: () => executable.run(inputs) },
      { name: 'raw', run: raw },
    ],
    { samples: isOverhead ? 2000 : 60, warmUp: 20 },
  );
  executable.dispose();
  rows.push(
    { name: `${name}, ours`, summary: times.ours },
    { name: `${name}, raw`, summary: times.raw },
  );
  const [oursUs, rawUs] = [times.ours.p50Ns / NS_PER_US, times.raw.p50Ns / NS_PER_US];
  verdicts.push({
    metric: `${name}, p50Us`,
    value: oursUs,
    baseline: { name: 'raw session', value: rawUs },
    // Of long runs the difference drowns in the noise of the threads; their ratio says enough.
    ...(isOverhead ? { atMost: rawUs + OVERHEAD_US } : {}),
  });
}
backend.dispose();
report('compute', rows, verdicts, { threads: THREADS });
