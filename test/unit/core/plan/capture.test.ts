/** @file Canonical programs: no dead code, nothing twice, numbered by structure; scalars that change become slots. */
import type { StateId, StateVersion } from '@ravenlab/protocol';
import { LIMITS, RavenError, encodeProgram, verifyProgram } from '@ravenlab/protocol';
import { GraphBuilder } from '../../../../kernel/src/core/graph/build.js';
import type { GraphNode } from '../../../../kernel/src/core/graph/node.js';
import { applyOp, stateLeaf, stopGradient } from '../../../../kernel/src/core/graph/node.js';
import { printProgram } from '../../../../kernel/src/core/graph/print.js';
import { programOf, trace } from '../../../../kernel/src/core/plan/capture.js';
import { PlanMemory, plan } from '../../../../kernel/src/core/plan/plan.js';
import { SlotMemory } from '../../../../kernel/src/core/plan/slotMemory.js';
import { floatLeaf } from '../lib/oracle.js';

const g = new GraphBuilder();
const weight = (id: number, version = 0): GraphNode =>
  stateLeaf(id as StateId, version as StateVersion, { dtype: 'float32', shape: [2, 2] });

function printed(outputs: readonly GraphNode[]): string {
  return printProgram(programOf(trace(outputs), []).program);
}

describe('trace', () => {
  test('gives one text for one structure, whatever the order of creation', () => {
    const left = (): GraphNode => {
      const a = g.unary('exp', weight(1));
      const b = g.unary('log', weight(2));
      return g.add(a, b);
    };
    const right = (): GraphNode => {
      const b = g.unary('log', weight(2));
      const a = g.unary('exp', weight(1));
      return g.add(a, b);
    };
    expect(printed([left()])).toBe(printed([right()]));
    expect(printed([left()])).toBe(
      [
        '%0 = input : float32 [2, 2]',
        '%1 = input : float32 [2, 2]',
        '%2 = exp(%0) : float32 [2, 2]',
        '%3 = log(%1) : float32 [2, 2]',
        '%4 = add(%2, %3) : float32 [2, 2]',
        'return %4',
      ].join('\n'),
    );
  });

  test('computes equal subexpressions once and drops what only copies', () => {
    const x = weight(1);
    const twice = g.mul(g.unary('exp', x), g.unary('exp', weight(1)));
    const copied = stopGradient(applyOp('reshape', [twice], { shape: [2, 2] }));
    expect(printed([copied])).toBe(
      [
        '%0 = input : float32 [2, 2]',
        '%1 = exp(%0) : float32 [2, 2]',
        '%2 = mul(%1, %1) : float32 [2, 2]',
        'return %2',
      ].join('\n'),
    );
  });

  test('keeps apart what differs in a parameter, a dtype, the sign of zero or the version of a state', () => {
    const x = floatLeaf([2], [1, 2]);
    const sums = [true, false].map((keepDims) => applyOp('sum', [x], { axes: [0], keepDims }));
    const zeros = [0, -0].map((value) => g.full([2], value));
    const versions = [weight(1, 0), weight(1, 1)];
    const outputs = [...sums, ...zeros, ...versions];
    const captured = programOf(trace(outputs), []);
    expect(new Set(captured.outputIndex).size).toBe(outputs.length);
  });

  test('lists an output asked for twice once and says where it is', () => {
    const x = weight(1);
    const y = g.unary('exp', x);
    const captured = programOf(trace([y, x, g.unary('exp', x)]), []);
    expect(captured.outputIndex).toEqual([0, 1, 0]);
    expect(captured.program.outputs).toEqual([1, 0]);
    verifyProgram(captured.program);
  });

  test('walks a chain of thousands of nodes without recursion, and refuses more than a program holds', () => {
    let x: GraphNode = floatLeaf([1], [1]);
    for (let i = 0; i < LIMITS.programNodes - 1; i++) x = g.unary('exp', x);
    expect(trace([x]).values).toHaveLength(LIMITS.programNodes);
    expect(() => trace([g.unary('exp', x)])).toThrow(RavenError);
    expect(() => trace([g.unary('exp', x)])).toThrow(/await an intermediate value/);
  });
});

test('more inputs than a program may have are refused with a remedy', () => {
  const many = Array.from({ length: LIMITS.programInputs + 1 }, (_, k) => floatLeaf([1], [k]));
  const total = many.reduce<GraphNode>((sum, leaf) => g.add(sum, leaf), g.scalar(1));
  expect(() => programOf(trace([total]), [])).toThrow(/4097 inputs, at most 4096 fit one program/);
});

describe('scalar slots', () => {
  const step = (lr: number, decay = 0.5): GraphNode => {
    const x = weight(1);
    return g.sub(x, g.add(g.scale(g.unary('exp', x), lr), g.scale(x, decay)));
  };
  const planWith = (memory: PlanMemory, lr: number, decay?: number) =>
    plan([step(lr, decay)], { microShard: 8 }, memory);

  test('a scalar is a constant until it changes; then it is an input and no new program is made', () => {
    const memory = new PlanMemory();
    const first = planWith(memory, 0.1);
    expect(first.inputs).toHaveLength(1);
    const second = planWith(memory, 0.2);
    expect(second.inputs).toHaveLength(2);
    expect(second.inputs[1]).toEqual({
      kind: 'inline',
      type: { dtype: 'float32', shape: [] },
      data: Float32Array.of(0.2),
      shardAxis: -1,
    });
    const third = planWith(memory, 0.3);
    expect(third.programs[0]).toBe(second.programs[0]);
    expect(planWith(memory, 0.1).programs[0]).toBe(second.programs[0]);
  });

  test('other constants of the same graph stay constants until they change, too', () => {
    const memory = new PlanMemory();
    [0.1, 0.2].forEach((lr) => planWith(memory, lr));
    expect(planWith(memory, 0.2, 0.25).inputs).toHaveLength(3);
  });

  test('the same graph with the same scalars is the same program object', () => {
    const memory = new PlanMemory();
    expect(planWith(memory, 0.1).programs[0]).toBe(planWith(memory, 0.1).programs[0]);
    expect(encodeProgram(planWith(memory, 0.1).programs[0]!)).toEqual(
      encodeProgram(planWith(new PlanMemory(), 0.1).programs[0]!),
    );
  });

  test('forgets large graphs before their texts fill the memory, but never the newest', () => {
    const memory = new SlotMemory<string>();
    const source = { values: [], outputs: [], scalars: [] };
    const large = (name: string): ReturnType<typeof memory.observe> =>
      memory.observe({ ...source, skeleton: name.repeat(LIMITS.planSkeletonChars / 2 + 1) });
    const first = large('a');
    const second = large('b');
    expect(large('b')).toBe(second);
    expect(large('a')).not.toBe(first);
  });

  test('forgets the least recently used graph first', () => {
    const memory = new PlanMemory();
    const shaped = (extent: number) => plan([g.full([extent], 1)], { microShard: 8 }, memory);
    const first = shaped(1);
    const second = shaped(2);
    for (let extent = 3; extent <= LIMITS.planSkeletons; extent++) shaped(extent);
    expect(shaped(1).programs[0]).toBe(first.programs[0]);
    shaped(LIMITS.planSkeletons + 1);
    expect(shaped(1).programs[0]).toBe(first.programs[0]);
    expect(shaped(2).programs[0]).not.toBe(second.programs[0]);
  });
});
