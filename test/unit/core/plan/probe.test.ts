/** @file The probe names the first value that is not finite. */
import type { Program } from '@ravenlab/protocol';
import { LIMITS, verifyProgram } from '@ravenlab/protocol';
import { GraphBuilder } from '../../../../kernel/src/core/graph/build.js';
import { applyOp } from '../../../../kernel/src/core/graph/node.js';
import { firstNonFinite, probeProgram } from '../../../../kernel/src/core/plan/probe.js';
import { plan } from '../../../../kernel/src/core/plan/plan.js';
import { runReference } from '../../../../kernel/src/core/reference/runReference.js';
import { floatLeaf, intLeaf } from '../lib/oracle.js';

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

test('a program with more values than flags fit keeps one for the last value', () => {
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
  expect(firstNonFinite(probe, flags!)).toBe(probe.values[0]);
});
