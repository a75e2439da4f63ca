/** @file The probe names the first value that is not finite. */
import type { Program } from '@ravenlab/protocol';
import { LIMITS, verifyProgram } from '@ravenlab/protocol';
import { GraphBuilder } from '../../../../kernel/src/core/graph/build.js';
import { backward } from '../../../../kernel/src/core/autograd/backward.js';
import type { GraphNode } from '../../../../kernel/src/core/graph/node.js';
import { applyOp, nodeName } from '../../../../kernel/src/core/graph/node.js';
import { firstNonFinite, probeProgram } from '../../../../kernel/src/core/plan/probe.js';
import { plan } from '../../../../kernel/src/core/plan/plan.js';
import { runReference } from '../../../../kernel/src/core/reference/runReference.js';
import { boolLeaf, floatLeaf, intLeaf } from '../lib/oracle.js';

const g = new GraphBuilder();

function planned(x: number[]) {
  const leaf = floatLeaf([2, 2], x);
  const log = applyOp('log', [leaf], {});
  const picked = applyOp('gather', [log, intLeaf([1], [1])], { axis: 0 });
  const loss = g.sum(g.mul(picked, picked), [0, 1]);
  return plan([loss], { microShard: 8 });
}

function probeOn(x: number[]) {
  const { programs, inputs, sources } = planned(x);
  const [program] = programs as [Program];
  const probe = probeProgram(program);
  verifyProgram(probe.program);
  const values = inputs.map((input) => (input.kind === 'inline' ? input.data : []));
  const [flags] = runReference(probe.program, values);
  return { probe, flags: flags!, program, sources };
}

test('a NaN is traced to the op that made it, not to those that passed it on', () => {
  const { probe, flags, program, sources } = probeOn([1, 2, -1, 3]);
  const value = firstNonFinite(probe, flags);
  const source = sources[value! - program.inputs.length];
  expect(source?.kind === 'op' && source.op).toBe('log');
});

test('an infinity counts, and an input that is already bad is named as such', () => {
  const infinite = probeOn([1, 2, 0, 3]);
  const id = firstNonFinite(infinite.probe, infinite.flags);
  expect(infinite.program.nodes[id! - infinite.program.inputs.length]?.op).toBe('log');
  const bad = probeOn([1, 2, NaN, 3]);
  expect(firstNonFinite(bad.probe, bad.flags)).toBeLessThan(bad.program.inputs.length);
});

test('finite values raise no flag, and flags are integers', () => {
  const { probe, flags, program } = probeOn([1, 2, 1e30, 3]);
  expect(firstNonFinite(probe, flags)).toBeNull();
  expect(flags).toBeInstanceOf(Int32Array);
  expect(flags).toHaveLength(probe.values.length);
  // Every float value but the integer index input has a flag.
  expect(probe.values).toHaveLength(program.inputs.length - 1 + program.nodes.length);
});

/** Op that is blamed for a run of one unit on `outputs`. */
function blamed(outputs: readonly GraphNode[]): string | null {
  const { programs, inputs, sources } = plan(outputs, { microShard: 8 });
  const probe = probeProgram(programs[0]!);
  const values = inputs.map((input) => (input.kind === 'inline' ? input.data : []));
  const id = firstNonFinite(probe, runReference(probe.program, values)[0]!);
  if (id === null) return null;
  const source = sources[id - inputs.length];
  return source === undefined ? 'input' : nodeName(source);
}

describe('what is blamed', () => {
  const scores = floatLeaf([2, 2], [1, 2, 3, 4]);
  const minusInfinity = g.scalar(-Infinity);
  const softmax = (x: GraphNode): GraphNode => applyOp('softmax', [x], { axis: 1 });

  test('not the -∞ of a mask, but the softmax of a row with nothing left', () => {
    const some = g.where(boolLeaf([2, 2], [0, 1, 0, 0]), minusInfinity, scores);
    expect(blamed([softmax(some)])).toBeNull();
    const all = g.where(boolLeaf([2, 2], [1, 1, 0, 0]), minusInfinity, scores);
    expect(blamed([softmax(all)])).toBe('softmax');
    const additive = g.add(scores, g.broadcastTo(minusInfinity, [2, 2]));
    expect(blamed([softmax(additive)])).toBe('softmax');
  });

  test('not an infinity that the result does not depend on', () => {
    const huge = g.unary('exp', g.scale(scores, 1e4));
    expect(blamed([g.div(scores, g.add(g.scalar(1), huge))])).toBeNull();
  });

  test('the op before the one where infinity became NaN', () => {
    const zero = floatLeaf([2, 2], [0, 1, 1, 1]);
    const log = g.unary('log', zero);
    expect(blamed([g.sum(g.mul(log, zero), [0, 1])])).toBe('log');
  });

  test('what spoiled the loss before what spoiled a gradient', () => {
    const negative = floatLeaf([2], [-1, 4]);
    const root = g.unary('sqrt', negative);
    const loss = g.sum(root, [0]);
    expect(blamed([loss, ...(backward(loss, [negative]) as GraphNode[])])).toBe('sqrt');
  });

  test('a gradient alone, where the loss is finite', () => {
    const zero = floatLeaf([2], [0, 4]);
    const loss = g.sum(g.unary('sqrt', zero), [0]);
    expect(blamed([loss, ...(backward(loss, [zero]) as GraphNode[])])).toBe('div');
  });
});

test('a program with more values than flags fit keeps those of its outputs', () => {
  const nodes = Array.from({ length: 9_000 }, (_, i) => ({
    op: 'neg' as const,
    inputs: [i],
    params: {},
    type: { dtype: 'float32' as const, shape: [] },
  }));
  const long: Program = {
    inputs: [{ dtype: 'float32', shape: [] }],
    nodes,
    outputs: [nodes.length],
  };
  const probe = probeProgram(long);
  expect(probe.program.nodes.length).toBeLessThanOrEqual(LIMITS.programNodes);
  expect(probe.values.at(-1)).toBe(nodes.length);
  verifyProgram(probe.program);
  const [flags] = runReference(probe.program, [[Infinity]]);
  expect(firstNonFinite(probe, flags!)).toBe(0);
});
