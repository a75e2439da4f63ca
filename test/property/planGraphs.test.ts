/**
 * @file Random graphs cut into micro-shards equal the uncut graph, or the plan says that it was not cut. Never wrong
 * numbers silently.
 */
import * as fc from 'fast-check';
import type { OpName } from '@ravenlab/protocol';
import { AutogradError, OP_NAMES, RavenError, ShapeError, sizeOf } from '@ravenlab/protocol';
import { backward } from '../../kernel/src/core/autograd/backward.js';
import { GraphBuilder } from '../../kernel/src/core/graph/build.js';
import type { GraphNode } from '../../kernel/src/core/graph/node.js';
import { applyOp, postOrder } from '../../kernel/src/core/graph/node.js';
import { printGraph } from '../../kernel/src/core/graph/print.js';
import { plan } from '../../kernel/src/core/plan/plan.js';
import {
  boolLeaf,
  evaluate,
  expectClose,
  floatLeaf,
  floats,
  intLeaf,
  prng,
} from '../unit/core/lib/oracle.js';
import { runPlan } from '../unit/core/lib/planRunner.js';

const g = new GraphBuilder();

type Random = (below: number) => number;

/** Rows of the batch: no other extent of a leaf is a multiple of it except where coincidence is the point. */
const ROWS = 5;

function leaves(): GraphNode[] {
  const f = (shape: number[], seed: number, axis: number): GraphNode =>
    floatLeaf(shape, floats(shape, seed, 0.2, 1.5), axis);
  return [
    f([ROWS, 3], 1, 0),
    f([2, ROWS], 2, 1),
    f([ROWS, 2, 3], 3, 0),
    f([ROWS], 4, 0),
    intLeaf([ROWS], [0, 2, 1, 1, 0], 0),
    boolLeaf([ROWS, 1], [1, 0, 1, 1, 0], 0),
    f([3], 5, -1),
    f([3, 4], 6, -1),
    f([4, 3], 7, -1),
    // Extents that equal the batch by chance.
    f([ROWS, 3], 8, -1),
    f([3, ROWS], 9, -1),
    intLeaf([2], [1, 0], -1),
    f([], 10, -1),
    f([2, 1, 2, 2], 11, -1),
    // An image batch with gradients that fit a convolution and a pool of it.
    f([ROWS, 1, 4, 4], 12, 0),
    f([ROWS, 2, 3, 3], 13, 0),
    f([ROWS, 1, 3, 3], 14, 0),
    boolLeaf([3], [1, 0, 1]),
  ];
}

/** Ops that keep their own statistics per micro-shard, draw by it or take its part of a sum differ from the uncut graph on purpose. */
const BY_CUT: readonly OpName[] = [
  ...(['normalize', 'normalizeGrad', 'variance', 'randomUniform'] as const),
  ...(['roundFloat16', 'finiteOr'] as const),
];
const TRIED = OP_NAMES.filter((op) => !BY_CUT.includes(op));

function subset(random: Random, rank: number): number[] {
  return Array.from({ length: rank }, (_, axis) => axis).filter(() => random(2) === 0);
}

function permutation(random: Random, length: number): number[] {
  const left = Array.from({ length }, (_, i) => i);
  return left.map(() => 0).map(() => left.splice(random(left.length), 1)[0]!);
}

/** A regrouping of the extents of `shape`: adjacent ones merged or a 1 put in. */
function regroup(random: Random, shape: readonly number[]): number[] {
  const out = [...shape];
  if (out.length > 1 && random(2) === 0) {
    const at = random(out.length - 1);
    out.splice(at, 2, out[at]! * out[at + 1]!);
  } else out.splice(random(out.length + 1), 0, 1);
  return out;
}

/** Parameters that have a chance to fit; applyOp refuses those that do not. */
function paramsFor(op: OpName, inputs: readonly GraphNode[], random: Random): object {
  const shape = inputs[0]?.type.shape ?? [];
  const rank = shape.length;
  const axis = random(Math.max(1, rank));
  const zeros = shape.map(() => 0);
  const makers: Partial<Record<OpName, () => object>> = {
    full: () => ({
      shape: [[ROWS, 3], [3], [], [ROWS], [3, ROWS]][random(5)],
      dtype: 'float32',
      value: 0.5,
    }),
    iota: () => ({ shape: [ROWS, 3], axis: random(2) }),
    cast: () => ({ dtype: (['float32', 'int32', 'bool'] as const)[random(3)] }),
    clip: () => ({ min: 0.4, max: 1.1 }),
    matMul: () => ({ transposeA: random(2) === 0, transposeB: random(2) === 0 }),
    sum: () => ({ axes: subset(random, rank), keepDims: random(2) === 0 }),
    mean: () => ({ axes: subset(random, rank), keepDims: random(2) === 0, count: 4 }),
    reduceMax: () => ({ axes: subset(random, rank), keepDims: random(2) === 0 }),
    reduceMin: () => ({ axes: subset(random, rank), keepDims: random(2) === 0 }),
    argMax: () => ({ axis }),
    softmax: () => ({ axis }),
    logSoftmax: () => ({ axis }),
    cumsum: () => ({ axis, exclusive: random(2) === 0, reverse: random(2) === 0 }),
    reshape: () => ({ shape: regroup(random, shape) }),
    transpose: () => ({ perm: permutation(random, rank) }),
    broadcastTo: () => ({ shape: [[ROWS], [2], [ROWS, 1]][random(3)]!.concat(shape) }),
    concat: () => ({ axis }),
    slice: () => ({
      begin: shape.map((_, i) => (i === axis ? random(2) : 0)),
      end: [...shape],
      step: shape.map((_, i) => (i === axis ? 1 + random(2) : 1)),
    }),
    pad: () => ({
      before: zeros.map((_, i) => (i === axis ? random(2) : 0)),
      after: zeros.map((_, i) => (i === axis ? random(3) : 0)),
      value: random(2),
    }),
    tile: () => ({ repeats: shape.map((_, i) => (i === axis ? 2 : 1)) }),
    reverse: () => ({ axes: subset(random, rank) }),
    gather: () => ({ axis }),
    scatterAdd: () => ({ size: 3 }),
    oneHot: () => ({ depth: 3 }),
    conv2d: () => ({ stride: [1, 1], padding: [0, 0, 0, 0], dilation: [1, 1], groups: 1 }),
    conv2dGradInput: () => ({
      ...{ stride: [1, 1], padding: [0, 0, 0, 0], dilation: [1, 1], groups: 1 },
      inputSize: [4, 4],
    }),
    conv2dGradWeight: () => ({
      ...{ stride: [1, 1], padding: [0, 0, 0, 0], dilation: [1, 1], groups: 1 },
      kernelSize: [2, 2],
    }),
  };
  const window = { kernel: [2, 2], stride: [1, 1], padding: [0, 0, 0, 0] };
  if (op.startsWith('maxPool') || op === 'avgPool2d') return window;
  if (op === 'avgPool2dGrad') return { ...window, inputSize: [4, 4] };
  return makers[op]?.() ?? {};
}

const ARITY: Partial<Record<OpName, number>> = { full: 0, iota: 0, where: 3 };

function grow(pool: GraphNode[], op: OpName, random: Random): void {
  const arity = ARITY[op] ?? (op === 'concat' ? 1 + random(2) : 2);
  // Recent nodes are chosen more often, so that graphs get deep.
  const choose = (): GraphNode =>
    pool[
      random(2) === 0 ? pool.length - 1 - random(Math.min(6, pool.length)) : random(pool.length)
    ]!;
  for (let tries = 0; tries < 12; tries++) {
    const inputs = Array.from({ length: tries % 2 === 0 ? arity : Math.min(arity, 1) }, choose);
    try {
      const node = applyOp(op, inputs, paramsFor(op, inputs, random) as never);
      if (node.type.shape.length <= 5 && sizeOf(node.type.shape) <= 600) pool.push(node);
      return;
    } catch (error) {
      if (!(error instanceof ShapeError)) throw error;
    }
  }
}

function randomGraph(seed: number, ops: number): GraphNode[] {
  const next = prng(seed);
  const random: Random = (below) => Math.floor(next() * below);
  const pool = leaves();
  const first = pool.length;
  for (let tries = 0; pool.length < first + ops && tries < ops * 40; tries++) {
    grow(pool, TRIED[random(TRIED.length)]!, random);
  }
  return pool.slice(first);
}

function isBatched(nodes: readonly GraphNode[]): boolean {
  return nodes.some(
    (node) =>
      (node.kind === 'leaf' && node.leaf.kind === 'inline' && node.leaf.batchAxis >= 0) ||
      isBatched(node.inputs),
  );
}

function finite(values: ArrayLike<number>): boolean {
  return Array.from(values).every((value) => Number.isFinite(value) && Math.abs(value) < 1e12);
}

function axesOf(node: GraphNode): number[] {
  return node.type.shape.map((_, axis) => axis);
}

function leavesBelow(nodes: readonly GraphNode[]): GraphNode[] {
  return postOrder(nodes).filter(({ kind }) => kind === 'leaf');
}

/** Gradients, or none where an op on the way can be differentiated once only. */
function gradientsOf(loss: GraphNode, weights: readonly GraphNode[]): GraphNode[] {
  try {
    return backward(loss, weights).filter((gradient) => gradient !== null);
  } catch (error) {
    if (error instanceof AutogradError) return [];
    throw error;
  }
}

const cutOps = new Set<OpName>();
let cutGraphs = 0;

function check(outputs: readonly GraphNode[], microShard: number): void {
  const expected = evaluate(outputs);
  if (!expected.every(finite)) return;
  const planned = plan(outputs, { microShard });
  const actual = runPlan(planned);
  if (planned.shards.length > 1) {
    cutGraphs++;
    for (const { op } of planned.programs[0]!.nodes) cutOps.add(op);
  } else if (isBatched(outputs)) expect(planned.note?.text).toMatch(/one unit/);
  expected.forEach((values, k) => {
    try {
      expectClose(actual[k]!, values, { rtol: 1e-9, atol: 1e-9, what: `output ${k}` });
    } catch (error) {
      throw new Error(`${(error as Error).message}\n${printGraph([outputs[k]!])}`);
    }
  });
}

test('every output of a random graph, alone, is right when cut', () => {
  fc.assert(
    fc.property(fc.integer(), fc.integer({ min: 1, max: 4 }), (seed, microShard) => {
      for (const output of randomGraph(seed, 12)) check([output], microShard);
    }),
    { numRuns: 250, seed: 11 },
  );
});

test('all outputs of a random graph together are right when cut', () => {
  fc.assert(
    fc.property(fc.integer(), fc.integer({ min: 1, max: 4 }), (seed, microShard) => {
      check(randomGraph(seed, 6), microShard);
    }),
    { numRuns: 300, seed: 12 },
  );
});

test('gradients of a random graph are right when cut', () => {
  let differentiated = 0;
  fc.assert(
    fc.property(fc.integer(), fc.integer({ min: 1, max: 4 }), (seed, microShard) => {
      const nodes = randomGraph(seed, 10).filter(({ type }) => type.dtype === 'float32');
      const weights = leavesBelow(nodes).filter(({ type }) => type.dtype === 'float32');
      const sums = nodes.slice(-3).map((node) => g.sum(g.mul(node, node), axesOf(node)));
      const [first, ...rest] = sums;
      if (first === undefined) return;
      const loss = rest.reduce((sum, term) => g.add(sum, term), first);
      const gradients = gradientsOf(loss, weights);
      differentiated += gradients.length;
      for (const gradient of gradients) check([gradient], microShard);
      check([loss, ...gradients], microShard);
    }),
    { numRuns: 250, seed: 13 },
  );
  expect(differentiated).toBeGreaterThan(300);
});

test('the random graphs above were really cut, with every op of the table', () => {
  expect(cutGraphs).toBeGreaterThan(500);
  expect(TRIED.filter((op) => !cutOps.has(op))).toEqual([]);
});

test('a wrong rule would be seen: a sum over the batch that is not combined differs', () => {
  const x = floatLeaf([4, 2], [1, 2, 3, 4, 5, 6, 7, 8], 0);
  const total = applyOp('sum', [x], { axes: [0], keepDims: false });
  const planned = plan([total], { microShard: 2 });
  const outputs = planned.outputs.map((output) => ({ ...output, combine: 'first' as const }));
  expect(Array.from(runPlan({ ...planned, outputs })[0]!)).not.toEqual([16, 20]);
  expect(Array.from(runPlan(planned)[0]!)).toEqual([16, 20]);
  expect(() => plan([], { microShard: 2 })).toThrow(RavenError);
});
