/** @file What the kernel adds to every training step before anything is sent: gradients and plan of a step of 500 nodes. */
import type { DataId, StateId, StateVersion, TensorType } from '@ravenlab/protocol';
import { encodeProgram } from '@ravenlab/protocol';
import { backward } from '../kernel/src/core/autograd/backward.js';
import { GraphBuilder } from '../kernel/src/core/graph/build.js';
import type { GraphNode } from '../kernel/src/core/graph/node.js';
import { applyOp, rowsLeaf, stateLeaf } from '../kernel/src/core/graph/node.js';
import type { Plan } from '../kernel/src/core/plan/plan.js';
import { PlanMemory, plan } from '../kernel/src/core/plan/plan.js';
import { measure } from './lib/measure.js';
import { report } from './lib/report.js';

const LAYERS = 56;
const ROWS = 128;
const WIDTH = 64;
const MICRO_SHARD = 32;
const BAR_NS = 3_000_000;

const g = new GraphBuilder();
const float = (...shape: number[]): TensorType => ({ dtype: 'float32', shape });
const indices = Int32Array.from({ length: ROWS }, (_, row) => row);
let version = 0;

/** A deep MLP, traced anew as a cell does at each step; every step reads newer weights. */
function traceStep(): { readonly loss: GraphNode; readonly weights: GraphNode[] } {
  const weights: GraphNode[] = [];
  const weight = (type: TensorType): GraphNode => {
    const node = stateLeaf(weights.length as StateId, version as StateVersion, type);
    weights.push(node);
    return node;
  };
  version++;
  let x: GraphNode = rowsLeaf(0 as DataId, float(ROWS, WIDTH), indices);
  for (let layer = 0; layer < LAYERS; layer++) {
    const product = g.matMul(x, weight(float(WIDTH, WIDTH)), false, true);
    x = applyOp(layer % 2 === 0 ? 'tanh' : 'relu', [g.add(product, weight(float(WIDTH)))], {});
  }
  const params = { axes: [0, 1], keepDims: false, count: ROWS * WIDTH };
  return { loss: applyOp('mean', [g.mul(x, x)], params), weights };
}

function gradientsOf({ loss, weights }: ReturnType<typeof traceStep>): GraphNode[] {
  return [loss, ...backward(loss, weights).filter((gradient) => gradient !== null)];
}

const memory = new PlanMemory();
const planned = (memoryOrNone?: PlanMemory): Plan =>
  plan(gradientsOf(traceStep()), { microShard: MICRO_SHARD }, memoryOrNone);
const sample = planned(memory);
const program = sample.programs[0];
if (program === undefined || sample.note !== null) throw new Error('the bench step was not cut');

const results = await measure(
  [
    { name: 'traceOnly', run: () => traceStep() },
    { name: 'traceAndBackward', run: () => gradientsOf(traceStep()) },
    { name: 'step', run: () => planned(memory) },
    {
      name: 'firstStep',
      run: () => planned(new PlanMemory()).programs.map((each) => encodeProgram(each)),
    },
    { name: 'programJson', run: () => JSON.parse(JSON.stringify(program)) as unknown },
  ] as const,
  { samples: 200, warmUp: 100 },
);

console.log(`${String(program.nodes.length)} nodes, ${String(sample.shards.length)} micro-shards`);
report(
  'plan',
  Object.entries(results).map(([name, summary]) => ({ name, summary })),
  [
    {
      metric: 'stepNs',
      value: results.step.p50Ns,
      baseline: { name: 'the program through JSON', value: results.programJson.p50Ns },
      atMost: BAR_NS,
    },
    {
      metric: 'firstStepNs',
      value: results.firstStep.p50Ns,
      baseline: { name: 'the program through JSON', value: results.programJson.p50Ns },
    },
  ],
);
