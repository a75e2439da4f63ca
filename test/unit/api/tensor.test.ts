/** @file Tensors: lazy building, NumPy and PyTorch semantics, force points, display. */
import {
  arange,
  concat,
  eye,
  full,
  linspace,
  manualSeed,
  ones,
  rand,
  randint,
  randn,
  stack,
  tensor,
  where,
  zeros,
} from 'ravenlab';
import { freshSession } from './lib/oracleSession.js';
import type { OracleSession } from './lib/oracleSession.js';

let session: OracleSession;
beforeEach(() => {
  session = freshSession();
});

const x = tensor([
  [1, 2, 3],
  [4, 5, 6],
]);

test('values come back in the nesting they were given in', () => {
  expect(x.toArray()).toEqual([
    [1, 2, 3],
    [4, 5, 6],
  ]);
  expect(tensor(7).toArray()).toBe(7);
  expect(tensor([true, false]).toArray()).toEqual([true, false]);
  expect(tensor([true, false]).dtype).toBe('bool');
  expect(tensor(Int32Array.of(1, 2)).dtype).toBe('int32');
});

test('a ragged array is refused with the shape that was expected', () => {
  expect(() => tensor([[1, 2], [3]])).toThrow(/ragged array.*\[2, 2\]/);
  expect(() => tensor([[1, 2], 3])).toThrow(/ragged/);
});

test('int32 refuses a fraction instead of cutting it off', () => {
  expect(() => tensor([1.5], { dtype: 'int32' })).toThrow(/int32 cannot hold 1.5/);
});

test('nothing runs until a value is asked for', () => {
  const y = x.add(1).mul(2).sum();
  expect(session.executed).toHaveLength(0);
  expect(y.item()).toBe(54);
  expect(session.executed).toHaveLength(1);
});

test('a value that was computed is never computed again', () => {
  const y = x.add(1);
  y.toArray();
  expect(y.mul(2).sum().item()).toBe(54);
  const nodesOfSecond = session.executed[1]?.inputs.length;
  expect(nodesOfSecond).toBe(1);
  y.toArray();
  expect(session.executed).toHaveLength(2);
});

test('a graph built on a tensor before it was read uses the value too', () => {
  const y = x.exp();
  const z = y.sum();
  y.toArray();
  z.item();
  expect(session.executed[1]?.inputs).toHaveLength(1);
  expect(session.executed[1]?.inputs[0]).toMatchObject({ kind: 'inline' });
});

test('data() gives a copy: writing to it changes nothing', async () => {
  const y = x.add(0);
  (await y.data())[0] = 99;
  expect(y.toArray()).toEqual(x.toArray());
});

test('dtypes are promoted as in PyTorch', () => {
  const ints = tensor(Int32Array.of(3, 4));
  expect(ints.add(1).dtype).toBe('int32');
  expect(ints.add(0.5).dtype).toBe('float32');
  expect(ints.add(0.5).toArray()).toEqual([3.5, 4.5]);
  expect(ints.div(2).toArray()).toEqual([1.5, 2]);
  expect(tensor([true, true]).sum().item()).toBe(2);
  expect(ints.mean().item()).toBe(3.5);
});

test.each([
  [[0], [1, 2, 3]],
  [[-1, -1], 6],
  [
    [':', '1:'],
    [
      [2, 3],
      [5, 6],
    ],
  ],
  [
    [':', '::-1'],
    [
      [3, 2, 1],
      [6, 5, 4],
    ],
  ],
  [
    [':', '::2'],
    [
      [1, 3],
      [4, 6],
    ],
  ],
  [
    [1, '-2:'],
    [5, 6],
  ],
  [
    [1, '2:0:-1'],
    [6, 5],
  ],
  [[[1, 2]], [[4, 5, 6]]],
  [
    [':', '5:'],
    [[], []],
  ],
])('x.at(%j) slices like NumPy', (indices, expected) => {
  expect(x.at(indices as never).toArray()).toEqual(expected);
});

test('an index that cannot be read or is outside says what is allowed', () => {
  expect(() => x.at([2])).toThrow(/index 2 is outside 0 … 1.*\[2, 3\]/);
  expect(() => x.at(['a:b'])).toThrow(/cannot read 'a:b'/);
  expect(() => x.at([0, 0, 0])).toThrow(/3 indices for a tensor of rank 2/);
  expect(() => x.at([':', '::0'])).toThrow(/step 0/);
});

test('reductions take an axis, several, a negative one, or none', () => {
  expect(x.sum(0).toArray()).toEqual([5, 7, 9]);
  expect(x.mean(-1).toArray()).toEqual([2, 5]);
  expect(x.max([0, 1]).item()).toBe(6);
  expect(x.min(1, { keepDims: true }).toArray()).toEqual([[1], [4]]);
  expect(x.argMax(1).toArray()).toEqual([2, 2]);
  expect(x.argMax().item()).toBe(5);
  expect(x.var().item()).toBeCloseTo(3.5);
  expect(x.var(undefined, { correction: 0 }).item()).toBeCloseTo(35 / 12);
  expect(x.std(1).toArray()).toEqual([1, 1]);
  expect(x.norm().item()).toBeCloseTo(Math.sqrt(91));
  expect(x.cumsum(1).at([1]).toArray()).toEqual([4, 9, 15]);
  expect(() => x.sum([0, -2])).toThrow(/name an axis twice/);
  expect(() => x.sum(2)).toThrow(/axis 2 is not an axis of a tensor of rank 2/);
});

test('logSumExp is exact where exp would overflow', () => {
  expect(tensor([1000, 1000]).logSumExp(0).item()).toBeCloseTo(1000 + Math.log(2), 3);
});

test('shapes are changed as asked', () => {
  expect(x.reshape([3, -1]).shape).toEqual([3, 2]);
  expect(x.flatten().shape).toEqual([6]);
  expect(x.transpose().toArray()).toEqual([
    [1, 4],
    [2, 5],
    [3, 6],
  ]);
  expect(x.expandDims(0).squeeze().shape).toEqual([2, 3]);
  expect(x.split([1, 2], 1).map((piece) => piece.shape)).toEqual([
    [2, 1],
    [2, 2],
  ]);
  expect(x.chunk(2, 1).map((piece) => piece.shape)).toEqual([
    [2, 2],
    [2, 1],
  ]);
  expect(x.permute([1, 0]).shape).toEqual([3, 2]);
  expect(() => x.reshape([4, -1])).toThrow(/\[2, 3\] has 6 elements, which do not fill \[4, -1\]/);
  expect(() => x.squeeze(0)).toThrow(/only axes of extent 1/);
  expect(() => x.split([1, 1], 1)).toThrow(/add up to 2/);
});

test('vectors take part in matMul as in PyTorch', () => {
  const v = tensor([1, 1, 1]);
  expect(x.matMul(v).toArray()).toEqual([6, 15]);
  expect(v.matMul(x.transpose()).toArray()).toEqual([6, 15]);
  expect(v.matMul(v).item()).toBe(3);
});

test('triangles, masks and selection', () => {
  const square = arange(9).reshape([3, 3]);
  expect(square.tril().toArray()).toEqual([
    [0, 0, 0],
    [3, 4, 0],
    [6, 7, 8],
  ]);
  expect(square.triu(1).toArray()).toEqual([
    [0, 1, 2],
    [0, 0, 5],
    [0, 0, 0],
  ]);
  expect(x.maskedFill(x.greater(3), 0).toArray()).toEqual([
    [1, 2, 3],
    [0, 0, 0],
  ]);
  expect(where(x.less(3), x, -1).sum().item()).toBe(-1);
  expect(
    tensor([
      [1, 2],
      [3, 4],
    ])
      .gather(tensor(Int32Array.of(1, 0)))
      .toArray(),
  ).toEqual([
    [3, 4],
    [1, 2],
  ]);
  expect(tensor(Int32Array.of(2, 0)).oneHot(3).toArray()).toEqual([
    [0, 0, 1],
    [1, 0, 0],
  ]);
});

test('functions that make tensors', () => {
  expect(zeros([2]).toArray()).toEqual([0, 0]);
  expect(full([2], 7, { dtype: 'int32' }).toArray()).toEqual([7, 7]);
  expect(arange(2, 5).toArray()).toEqual([2, 3, 4]);
  expect(arange(0, 1, 0.25).dtype).toBe('float32');
  expect(() => arange(0, 5, 0)).toThrow(/step must not be 0/);
  expect(linspace(0, 1, 3).toArray()).toEqual([0, 0.5, 1]);
  expect(eye(2).toArray()).toEqual([
    [1, 0],
    [0, 1],
  ]);
  expect(concat([x, x], -1).shape).toEqual([2, 6]);
  expect(stack([ones([2]), zeros([2])], 1).toArray()).toEqual([
    [1, 0],
    [1, 0],
  ]);
});

test('equal seeds give equal random tensors, and every draw is another one', () => {
  manualSeed(5);
  const first = [rand([4]), randn([4]), rand([4])].map((t) => t.toArray());
  manualSeed(5);
  const second = [rand([4]), randn([4]), rand([4])].map((t) => t.toArray());
  expect(second).toEqual(first);
  expect(first[0]).not.toEqual(first[2]);
  // A redrawn tensor is the same program with another key.
  expect(session.programCount).toBe(2);
});

test('random tensors have the distribution they promise', () => {
  manualSeed(1);
  const normal = randn([10_000]);
  expect(normal.mean().item()).toBeCloseTo(0, 1);
  expect(normal.std().item()).toBeCloseTo(1, 1);
  const dice = randint(1, 7, [600]);
  expect([dice.min().item(), dice.max().item()]).toEqual([1, 6]);
});

test('a long chain is computed in pieces', () => {
  let y = tensor([1]);
  for (let i = 0; i < 5_000; i++) y = y.add(1);
  expect(session.executed).toHaveLength(2);
  expect(y.item()).toBe(5_001);
});

test('item() of several elements says what to do', () => {
  expect(() => x.item()).toThrow(/\[2, 3\] has 6 elements, expected one; reduce it/);
});

test('a shape error has the line of the cell on its stack', () => {
  let stack = '';
  try {
    zeros([32, 64]).matMul(zeros([128, 10]));
  } catch (error) {
    stack = (error as Error).stack ?? '';
  }
  expect(stack).toContain('[32, 64] × [128, 10]');
  expect(stack).toContain('tensor.test.ts');
});

test('display shows type and values; a large tensor shows its edges only', () => {
  const display = (value: object): Record<string, string> =>
    (value as Record<symbol, () => Record<string, string>>)[Symbol.for('Jupyter.display')]?.() ??
    {};
  expect(display(x)['text/plain']).toBe('Tensor float32 [2, 3]\n[[1, 2, 3],\n [4, 5, 6]]');
  const large = display(arange(10_000).reshape([100, 100]))['text/plain'] ?? '';
  expect(large).toContain('Tensor int32 [100, 100]');
  expect(large).toContain('9999');
  expect(large.split('\n')).toHaveLength(8);
  const plan = session.executed.at(-1);
  expect(plan?.outputs[0]?.type.shape).toEqual([6, 6]);
  x.mul(0.5).print('half');
  expect(session.text('stdout')).toContain('half: Tensor float32 [2, 3]\n[[0.5000, 1.0000');
});

test('large arrays go to the engine once, not with every execution', () => {
  const large = tensor(new Float32Array(10_000));
  large.add(1).sum().item();
  large.add(2).sum().item();
  expect(session.requests.filter(({ kind }) => kind === 'createData')).toHaveLength(1);
  expect(session.executed.every(({ inputs }) => inputs[0]?.kind === 'data')).toBe(true);
});
