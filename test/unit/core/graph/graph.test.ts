/** @file Nodes, traversal, the builder's shortcuts, printing and layout. */
import type { DataId, StateId, StateVersion } from '@ravenlab/protocol';
import { ShapeError } from '@ravenlab/protocol';
import { GraphBuilder } from '../../../../kernel/src/core/graph/build.js';
import { drawGraph } from '../../../../kernel/src/core/graph/draw.js';
import type { GraphNode } from '../../../../kernel/src/core/graph/node.js';
import {
  applyOp,
  inlineLeaf,
  isOp,
  keyLeaf,
  postOrder,
  rowsLeaf,
  stateLeaf,
} from '../../../../kernel/src/core/graph/node.js';
import { printGraph } from '../../../../kernel/src/core/graph/print.js';
import { evaluate, floatLeaf } from '../lib/oracle.js';

const g = new GraphBuilder();
const x = floatLeaf([2, 3], [1, 2, 3, 4, 5, 6]);

describe('nodes', () => {
  test('infer their type and are frozen', () => {
    const y = applyOp('matMul', [x, x], { transposeA: false, transposeB: true }, 'cell 3');
    expect(y.type).toEqual({ dtype: 'float32', shape: [2, 2] });
    expect(y.origin).toBe('cell 3');
    expect(Object.isFrozen(y)).toBe(true);
  });

  test('refuse shapes that do not fit, naming the op and both shapes', () => {
    expect(() => applyOp('matMul', [x, x], { transposeA: false, transposeB: false })).toThrow(
      /matMul: inner sizes differ: \[2, 3\] × \[2, 3\].*transpose or reshape/,
    );
  });

  test('refuse leaves whose data do not fit', () => {
    const type = { dtype: 'float32', shape: [2, 2] } as const;
    expect(() => inlineLeaf(new Float32Array(3), type)).toThrow(
      /3 values do not fill .* 4 elements/,
    );
    expect(() => inlineLeaf(new Float32Array(4), type, 2)).toThrow(/batch axis 2/);
    const rows = (indices: number[]) => rowsLeaf(1 as DataId, type, Int32Array.from(indices));
    expect(rows([1, 0, 1]).type.shape).toEqual([3, 2]);
    expect(() => rows([2])).toThrow(ShapeError);
    expect(() => rows([-1])).toThrow(/index -1 is outside the 2 rows/);
    expect(() => rowsLeaf(1 as DataId, { ...type, shape: [] }, new Int32Array())).toThrow(/scalar/);
  });

  test('are visited once, inputs first, in an order that creation does not change', () => {
    const b = g.unary('log', x);
    const a = g.unary('exp', x);
    const sum = g.add(a, b);
    expect(postOrder([sum, a])).toEqual([x, a, b, sum]);
  });
});

describe('the builder', () => {
  const ops = (node: GraphNode): string[] =>
    postOrder([node]).flatMap((n) => (n.kind === 'op' ? [n.op] : []));

  test('leaves out neutral elements and folds constants', () => {
    expect(g.add(x, g.full([2, 3], 0))).toBe(x);
    expect(g.add(g.scalar(0), x)).toBe(x);
    expect(g.mul(g.scalar(1), x)).toBe(x);
    expect(g.div(x, g.scalar(1))).toBe(x);
    expect(ops(g.sub(g.scalar(0), x))).toEqual(['neg']);
    expect(ops(g.mul(g.scalar(3), g.full([2], 2)))).toEqual(['full']);
    expect(g.reshape(x, [2, 3])).toBe(x);
    expect(g.transpose(x, [0, 1])).toBe(x);
    expect(g.sliceAxis(x, 1, 0, 3)).toBe(x);
    expect(g.sumTo(x, [2, 3])).toBe(x);
  });

  test('keeps the shape that a neutral element broadcasts to', () => {
    expect(g.add(g.full([4, 2, 3], 0), x).type.shape).toEqual([4, 2, 3]);
    expect(g.mul(x, g.full([4, 1, 1], 1)).type.shape).toEqual([4, 2, 3]);
    expect(g.sub(g.full([4, 1, 1], 0), x).type.shape).toEqual([4, 2, 3]);
  });

  test('leaves what is not finite to a worker, where the error can name it', () => {
    const one = g.scalar(1);
    expect(ops(g.div(one, g.scalar(0)))).toContain('div');
  });

  test('sums only axes with more than one element', () => {
    const column = floatLeaf([2, 1], [3, 4]);
    expect(ops(g.sum(column, [1]))).toEqual(['reshape']);
    expect(ops(g.sum(column, [0, 1]))).toEqual(['sum', 'reshape']);
    expect(evaluate([g.sum(g.full([2, 3], 2), [0, 1])])[0]![0]).toBe(12);
    expect(g.sum(g.full([0, 3], 2), [0]).type.shape).toEqual([3]);
  });

  test('drops a broadcast that the op itself repeats, and keeps one that it does not', () => {
    const row = floatLeaf([3], [1, 2, 3]);
    const wide = g.broadcastTo(row, [2, 3]);
    expect(ops(g.mul(wide, x))).toEqual(['mul']);
    expect(ops(g.mul(wide, floatLeaf([1, 3], [1, 1, 2])))).toContain('broadcastTo');
    expect(ops(g.mul(wide, wide))).toContain('broadcastTo');
  });
});

describe('printing and drawing', () => {
  const w = stateLeaf(7 as StateId, 2 as StateVersion, { dtype: 'float32', shape: [4, 3] });
  const noise = applyOp('randomUniform', [keyLeaf(1, 2, 3)], { shape: [2, 4], stream: 0 });
  const y = g.add(g.matMul(x, w, false, true), noise);

  test('prints one line a node', () => {
    expect(printGraph([y])).toBe(
      [
        '%0 = inline value : float32 [2, 3]',
        '%1 = state 7@2 : float32 [4, 3]',
        '%2 = matMul(%0, %1) transposeA=false transposeB=true : float32 [2, 4]',
        '%3 = key step 3 : int32 [4]',
        '%4 = randomUniform(%3) shape=[2,4] stream=0 : float32 [2, 4]',
        '%5 = add(%2, %4) : float32 [2, 4]',
        'return %5',
      ].join('\n'),
    );
  });

  test('lays out inputs above their users, leaves next to their first user', () => {
    const drawn = drawGraph([y]);
    expect(drawn.edges).toHaveLength(5);
    for (const { from, to } of drawn.edges) {
      expect(drawn.nodes[from]!.layer).toBeLessThan(drawn.nodes[to]!.layer);
    }
    const places = drawn.nodes.map(({ layer, order }) => `${String(layer)}/${String(order)}`);
    expect(new Set(places).size).toBe(drawn.nodes.length);
    expect(drawn.layers).toBe(3);
    const output = drawn.nodes.find(({ kind }) => kind === 'output');
    expect(output?.node).toBe(y);
    expect(isOp(y, 'add')).toBe(true);
  });

  test('keeps the part nearest to the outputs when a graph is too large to look at', () => {
    let chain: GraphNode = x;
    for (let k = 0; k < 50; k++) chain = g.unary('exp', chain);
    const drawn = drawGraph([chain], 10);
    expect(drawn.nodes).toHaveLength(10);
    expect(drawn.hidden).toBe(41);
    expect(drawn.nodes.at(-1)!.kind).toBe('output');
  });
});
