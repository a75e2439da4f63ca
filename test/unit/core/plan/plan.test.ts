/** @file Plans of single graphs: how leaves are cut, how results combine, and when a step is not cut. */
import type { DataId, PlanOutput, StateId, StateVersion } from '@ravenlab/protocol';
import { uniform, verifyProgram } from '@ravenlab/protocol';
import { backward } from '../../../../kernel/src/core/autograd/backward.js';
import { GraphBuilder } from '../../../../kernel/src/core/graph/build.js';
import type { GraphNode } from '../../../../kernel/src/core/graph/node.js';
import {
  applyOp,
  dataLeaf,
  keyLeaf,
  rowsLeaf,
  stateLeaf,
} from '../../../../kernel/src/core/graph/node.js';
import type { Plan } from '../../../../kernel/src/core/plan/plan.js';
import { plan } from '../../../../kernel/src/core/plan/plan.js';
import { evaluate, expectClose, floatLeaf, floats, intLeaf } from '../lib/oracle.js';
import { runPlan } from '../lib/planRunner.js';

const g = new GraphBuilder();

function combineOf(planned: Plan): PlanOutput['combine'][] {
  return planned.outputIndex.map((index) => planned.outputs[index]!.combine);
}

describe('cutting', () => {
  const images = { dtype: 'float32', shape: [100, 3] } as const;
  const indices = Int32Array.from({ length: 70 }, (_, i) => 99 - i);
  const x = rowsLeaf(5 as DataId, images, indices);
  const w = stateLeaf(1 as StateId, 4 as StateVersion, { dtype: 'float32', shape: [3, 2] });

  test('cuts 70 rows into two micro-shards of 32 and one of 6, with two programs', () => {
    const planned = plan([g.matMul(x, w)], { microShard: 32 });
    expect(planned.shards).toEqual([
      { program: 0, offset: 0, size: 32 },
      { program: 0, offset: 32, size: 32 },
      { program: 1, offset: 64, size: 6 },
    ]);
    expect(planned.programs.map((program) => program.inputs[0]!.shape)).toEqual([
      [32, 3],
      [6, 3],
    ]);
    planned.programs.forEach(verifyProgram);
    expect(planned.inputs).toEqual([
      { kind: 'rows', dataId: 5, indices, sharded: true },
      { kind: 'state', stateId: 1, version: 4 },
    ]);
    expect(planned.outputs).toEqual([
      { combine: 'concat', axis: 0, type: { dtype: 'float32', shape: [70, 2] }, deliver: true },
    ]);
  });

  test('a batch that fits one micro-shard, or no batch at all, is one unit without a note', () => {
    for (const [outputs, size] of [
      [[g.matMul(x, w)], 70],
      [[g.unary('exp', w)], 1],
    ] as const) {
      const planned = plan(outputs, { microShard: 70 });
      expect(planned.note).toBeNull();
      expect(planned.shards).toEqual([{ program: 0, offset: 0, size }]);
    }
  });

  test('rows and whole data tensors come from the store', () => {
    const table = dataLeaf(9 as DataId, { dtype: 'float32', shape: [3] });
    const planned = plan([g.mul(x, table)], { microShard: 32 });
    const data = {
      5: { type: images, data: floats(images.shape, 1) },
      9: { type: table.type, data: Float32Array.of(1, 2, 3) },
    } as const;
    const [actual] = runPlan(planned, { data: (id) => data[id as 5 | 9] });
    expect(actual![0]).toBeCloseTo(data[5].data[99 * 3]!, 6);
    expect(actual![2]).toBeCloseTo(3 * data[5].data[99 * 3 + 2]!, 6);
  });

  test('every node of the cut program leads back to the graph node it computes', () => {
    const loss = g.sum(g.unary('exp', g.matMul(x, w)), [0, 1]);
    const planned = plan([loss], { microShard: 32 });
    const ops = planned.sources.map((node) => (node.kind === 'op' ? node.op : node.kind));
    expect(ops).toEqual(planned.programs[0]!.nodes.map((node) => node.op));
  });

  test('a replicated term of a sum counts once', () => {
    const rows = floatLeaf([6, 2], floats([6, 2], 1), 0);
    const penalty = floatLeaf([], [10]);
    const loss = g.add(g.sum(rows, [0, 1]), penalty);
    const planned = plan([loss], { microShard: 2 });
    expect(combineOf(planned)).toEqual(['sum']);
    expectClose(runPlan(planned)[0]!, evaluate([loss])[0]!);
  });

  test('a value given whole is cut where an op needs it row by row', () => {
    const rows = floatLeaf([6, 2], floats([6, 2], 1), 0);
    const labels = floatLeaf([6], floats([6], 2));
    const classes = applyOp('oneHot', [intLeaf([6], [0, 1, 1, 0, 1, 0])], { depth: 2 });
    const losses = [
      g.sum(g.mul(g.sum(rows, [1]), labels), [0]),
      g.sum(g.mul(rows, g.reshape(labels, [6, 1])), [0, 1]),
      g.sum(g.mul(rows, g.unary('neg', classes)), [0, 1]),
      g.matMul(rows, g.reshape(labels, [6, 1]), true),
    ];
    for (const loss of losses) {
      const planned = plan([loss], { microShard: 4 });
      expect(planned.note).toBeNull();
      expectClose(runPlan(planned)[0]!, evaluate([loss])[0]!);
    }
  });
});

describe('batch-shaped constants and random numbers', () => {
  const rows = floatLeaf([6, 2], floats([6, 2], 1, 0.5, 1), 0);

  test('a constant of the size of the batch is made in the size of the micro-shard', () => {
    const planned = plan(
      [
        g.add(
          g.unary('exp', g.matMul(g.full([6, 3], 1), floatLeaf([3, 2], floats([3, 2], 4)))),
          rows,
        ),
      ],
      { microShard: 4 },
    );
    expect(planned.note).toBeNull();
    expect(planned.programs[0]!.nodes[0]!.params['shape']).toEqual([4, 3]);
  });

  test('a weight whose first extent is the batch size by chance is not cut', () => {
    const w = floatLeaf([6, 6], floats([6, 6], 3));
    const mask = g.apply('maximum', [g.full([6, 6], 0.25), w], {});
    const y = g.matMul(floatLeaf([6, 6], floats([6, 6], 5), 0), g.mul(mask, w));
    const planned = plan([y], { microShard: 4 });
    expect(planned.note).toBeNull();
    expectClose(runPlan(planned)[0]!, evaluate([y])[0]!);
  });

  test('dropout draws by micro-shard: the numbers depend on the cut, and stay when the step is run again', () => {
    const drawn = applyOp('randomUniform', [keyLeaf(1, 2, 3)], { shape: [6, 2], stream: 9 });
    const kept = g.where(g.binary('less', drawn, g.scalar(0.5)), rows, g.scalar(0));
    const planned = plan([drawn, kept], { microShard: 4 });
    expect(planned.note).toBeNull();
    expect(combineOf(planned)).toEqual(['concat', 'concat']);
    const [numbers] = runPlan(planned);
    expect(Array.from(numbers!)).toEqual([
      ...uniform(Int32Array.of(1, 2, 3, 0), 9, 8),
      ...uniform(Int32Array.of(1, 2, 3, 1), 9, 4),
    ]);
    expect(runPlan(planned, {}, [1, 0])).toEqual(runPlan(planned));
  });
});

test('one draw is never used in two forms: the step is not cut instead', () => {
  const rows = floatLeaf([6, 6], floats([6, 6], 1), 0);
  const type = { dtype: 'float32', shape: [6, 6] } as const;
  const w = stateLeaf(1 as StateId, 0 as StateVersion, type);
  const drawn = applyOp('randomUniform', [keyLeaf(1, 2, 3)], { shape: [6, 6], stream: 9 });
  const planned = plan([g.mul(drawn, rows), g.mul(drawn, w)], { microShard: 4 });
  expect(planned.note?.text).toMatch(/`randomUniform` is used both row by row and as a whole/);
});

describe('statistics of the micro-shard', () => {
  test('normalize over the batch uses the rows of the micro-shard ("ghost" batch norm)', () => {
    const data = floats([5, 3], 6);
    const normal = (values: Float32Array, rows: number): GraphNode =>
      applyOp('normalize', [floatLeaf([rows, 3], values, 0)], { axes: [0], epsilon: 1e-5 });
    const planned = plan([normal(data, 5)], { microShard: 3 });
    const expected = [
      ...evaluate([normal(data.slice(0, 9), 3)])[0]!,
      ...evaluate([normal(data.slice(9), 2)])[0]!,
    ];
    expectClose(runPlan(planned)[0]!, expected, { rtol: 1e-12 });
  });

  test('its running variance pools the deviations within micro-shards', () => {
    const x = floatLeaf([4], [0, 2, 10, 14], 0);
    const variance = applyOp('variance', [x], { axes: [0], keepDims: false, count: 4 });
    const planned = plan([variance], { microShard: 2 });
    expect(combineOf(planned)).toEqual(['sum']);
    // (1 + 1 + 4 + 4) / 4, against 31 for the whole batch.
    expect(Array.from(runPlan(planned)[0]!)).toEqual([2.5]);
  });

  test('its gradient is that of the cut model', () => {
    const x = floatLeaf([4, 2], floats([4, 2], 8), 0);
    const w = floatLeaf([2, 2], floats([2, 2], 9));
    const model = (rows: GraphNode): GraphNode => {
      const normal = applyOp('normalize', [g.matMul(rows, w)], { axes: [0], epsilon: 1e-3 });
      return g.sum(g.mul(normal, g.unary('exp', normal)), [0, 1]);
    };
    const planned = plan([backward(model(x), [w])[0]!], { microShard: 2 });
    const halves = [0, 4].map((at) => floatLeaf([2, 2], floats([4, 2], 8).slice(at, at + 4)));
    const sum = g.add(model(halves[0]!), model(halves[1]!));
    expectClose(runPlan(planned)[0]!, evaluate([backward(sum, [w])[0]!])[0]!);
  });
});

describe('steps that cannot be cut', () => {
  const x = floatLeaf([8, 2], floats([8, 2], 1), 0);
  const total = g.sum(x, [0]);
  const cases: [string, GraphNode, RegExp][] = [
    [
      'a nonlinear function of a sum',
      g.unary('exp', total),
      /`exp` needs a sum over the whole batch/,
    ],
    [
      'centring by the mean of the batch',
      g.sub(x, total),
      /`sub` combines single rows with a value summed/,
    ],
    [
      'softmax over the batch',
      applyOp('softmax', [x], { axis: 0 }),
      /`softmax` works across the rows/,
    ],
    ['a product of two sums', g.mul(total, total), /`mul` needs a sum/],
    [
      'the largest row',
      applyOp('reduceMax', [x], { axes: [0], keepDims: false }),
      /`reduceMax` works across/,
    ],
    [
      'every second row',
      applyOp('slice', [x], { begin: [0, 0], end: [8, 2], step: [2, 1] }),
      /`slice` works across/,
    ],
    ['transposed rows merged', g.reshape(g.transpose(x, [1, 0]), [16]), /`reshape` works across/],
  ];
  test.each(cases)('%s runs as one unit, rightly, and says why', (_name, output, reason) => {
    const planned = plan([output], { microShard: 2 });
    expect(planned.shards).toEqual([{ program: 0, offset: 0, size: 8 }]);
    expect(planned.note?.text).toMatch(reason);
    expect(planned.note?.text).toMatch(
      /runs as one unit on one worker .*; compute it from the awaited/,
    );
    expect(planned.note?.node).toBe(output);
    expectClose(runPlan(planned)[0]!, evaluate([output])[0]!);
  });

  test('batches of different sizes are not cut, and the note names the sizes', () => {
    const other = floatLeaf([4, 2], floats([4, 2], 2), 0);
    const loss = g.add(g.sum(x, [0, 1]), g.sum(other, [0, 1]));
    const planned = plan([loss], { microShard: 2 });
    expect(planned.note?.text).toMatch(/batches of different sizes \(8, 4 rows\)/);
    expect(planned.note?.node).toBeNull();
    expectClose(runPlan(planned)[0]!, evaluate([loss])[0]!);
  });

  test.each([0, 1.5, -3, NaN])('a micro-shard of %p rows is refused', (microShard) => {
    expect(() => plan([total], { microShard })).toThrow(/expected an integer of at least 1/);
  });
});
