/** @file Lowering of programs: what enters a model, what is fused, what is left out. Numbers are conformance's. */
import type { Program, ProgramNode, TensorType } from '@ravenlab/protocol';
import { inferOp, valueType } from '@ravenlab/protocol';
import type { OpName, OpParams } from '@ravenlab/protocol';
import { countUses, findBiasFusions } from '../../../../worker/src/compute/onnx/fusion.js';
import { lowerProgram } from '../../../../worker/src/compute/onnx/lower.js';

const f = (...shape: number[]): TensorType => ({ dtype: 'float32', shape });

class Builder {
  readonly nodes: ProgramNode[] = [];
  readonly inputs: readonly TensorType[];

  constructor(...inputs: TensorType[]) {
    this.inputs = inputs;
  }

  op<N extends OpName>(op: N, inputs: number[], params: OpParams[N]): number {
    const program = this.program([]);
    const types = inputs.map((id) => valueType(program, id));
    this.nodes.push({ op, inputs, params, type: inferOp(op, types, params) });
    return this.inputs.length + this.nodes.length - 1;
  }

  program(outputs: number[]): Program {
    return { inputs: this.inputs, nodes: this.nodes, outputs };
  }
}

const SHARED = { channelBlock: 8, areShared: true };
const PLAIN = { transposeA: false, transposeB: true };
const names = (bytes: Uint8Array): string => Buffer.from(bytes).toString('latin1');
const fusionsOf = (program: Program) => findBiasFusions(program, countUses(program));

describe('lowering', () => {
  test('adds a bias within the product, on either side', () => {
    for (const order of [0, 1]) {
      const b = new Builder(f(4, 3), f(5, 3), f(5));
      const product = b.op('matMul', [0, 1], PLAIN);
      const sum = b.op('add', order === 0 ? [product, 2] : [2, product], {});
      const program = b.program([sum]);
      expect(fusionsOf(program).byAdd.get(sum)).toMatchObject({ linear: 'matMul', bias: 2 });
      const text = names(lowerProgram(program).bytes);
      expect(text.match(/Gemm/g)).toHaveLength(1);
      expect(text).not.toContain('Add');
    }
  });

  test.each([
    ['a product that is read twice', (b: Builder, p: number) => [b.op('add', [p, 2], {}), p]],
    ['a sum over rows', (b: Builder, p: number) => [b.op('add', [p, 3], {})]],
    ['a sum that grows by broadcasting', (b: Builder, p: number) => [b.op('add', [p, 4], {})]],
  ])('leaves %s alone', (_, finish) => {
    const b = new Builder(f(4, 3), f(5, 3), f(5), f(4, 1), f(2, 4, 5));
    const outputs = finish(b, b.op('matMul', [0, 1], PLAIN));
    expect(fusionsOf(b.program(outputs)).byAdd.size).toBe(0);
  });

  test('adds a bias per channel within the convolution', () => {
    const b = new Builder(f(2, 3, 5, 5), f(4, 3, 3, 3), f(4, 1, 1));
    const window = { stride: [1, 1], padding: [0, 0, 0, 0], dilation: [1, 1], groups: 1 };
    const sum = b.op('add', [b.op('conv2d', [0, 1], window), 2], {});
    expect(fusionsOf(b.program([sum])).byAdd.get(sum)).toMatchObject({ linear: 'conv2d' });
  });

  test('feeds only what is read, and nothing that is dead', () => {
    const b = new Builder(f(2), f(2), { dtype: 'int32', shape: [4] });
    b.op('exp', [1], {});
    const drawn = b.op('randomUniform', [2], { shape: [2], stream: 7 });
    const sum = b.op('add', [0, drawn], {});
    const model = lowerProgram(b.program([sum]));
    expect(model.feeds).toEqual([
      { kind: 'input', name: 'i0', index: 0 },
      { kind: 'random', name: `r${String(drawn)}`, key: 2, stream: 7, shape: [2] },
    ]);
    expect(names(model.bytes)).not.toContain('Exp');
  });

  test('makes equal nodes once, so that a normalisation and its gradient share statistics', () => {
    const b = new Builder(f(4, 8), f(4, 8));
    const params = { axes: [1], epsilon: 1e-5 };
    const y = b.op('normalize', [0], params);
    const dx = b.op('normalizeGrad', [0, 1], params);
    const text = names(lowerProgram(b.program([y, dx])).bytes);
    expect(text.match(/Reciprocal/g)).toHaveLength(1);
  });

  test('keeps models small however large their constants are', () => {
    const b = new Builder(f(1));
    const full = b.op('full', [], { shape: [1000, 1000], dtype: 'float32', value: 2 });
    const row = b.op('iota', [], { shape: [500, 1000], axis: 1 });
    expect(lowerProgram(b.program([full, row])).bytes.length).toBeLessThan(1000);
  });
});

describe('convolutions in blocks of channels', () => {
  const window = { stride: [1, 1], padding: [1, 1, 1, 1], dilation: [1, 1], groups: 1 } as const;
  const convolution = (x: TensorType, w: TensorType): Program => {
    const b = new Builder(x, w);
    return b.program([b.op('conv2d', [0, 1], window)]);
  };
  const areBlocked = (program: Program, channelBlock: number): boolean =>
    names(lowerProgram(program, { channelBlock, areShared: false }).bytes).includes('nchwc');

  test('are taken where the runtime has them and both sides have whole blocks', () => {
    const program = convolution(f(4, 16, 8, 8), f(24, 16, 3, 3));
    expect(areBlocked(program, 8)).toBe(true);
    expect(areBlocked(program, 16)).toBe(false);
    expect(areBlocked(program, 0)).toBe(false);
  });

  test.each([
    ['a few channels', f(4, 3, 8, 8), f(16, 3, 3, 3)],
    ['small images, however many', f(64, 16, 6, 6), f(16, 16, 3, 3)],
    ['a kernel of one position', f(4, 16, 8, 8), f(16, 16, 1, 1)],
  ])('are not for %s', (_, x, w) => {
    expect(areBlocked(convolution(x, w), 8)).toBe(false);
  });

  test('put what both gradients read into blocks once', () => {
    const b = new Builder(f(8, 16, 8, 8), f(16, 16, 3, 3), f(8, 16, 8, 8));
    const dx = b.op('conv2dGradInput', [2, 1], { ...window, inputSize: [8, 8] });
    const dw = b.op('conv2dGradWeight', [0, 2], { ...window, kernelSize: [3, 3] });
    const text = names(lowerProgram(b.program([dx, dw]), SHARED).bytes);
    // dy for both; the weight; x; and dy again, as the weight that it is for the other.
    expect(text.match(/ReorderInput/g)).toHaveLength(4);
    expect(text.match(/ReorderOutput/g)).toHaveLength(2);
    // One thread would do these alone.
    expect(text).not.toMatch(/Transpose|Pad|Slice|Concat/);
  });

  test('of a gradient that would add up too many terms in one go stay plain', () => {
    const gradient = (side: number): Program => {
      const b = new Builder(f(8, 16, side, side), f(8, 16, side, side));
      return b.program([b.op('conv2dGradWeight', [0, 1], { ...window, kernelSize: [3, 3] })]);
    };
    expect(areBlocked(gradient(32), 8)).toBe(true);
    expect(areBlocked(gradient(33), 8)).toBe(false);
  });
});

describe('where threads share the work of an op', () => {
  const gradientOfRelu = (...shape: number[]): Program => {
    const b = new Builder(f(...shape), f(...shape));
    const zero = b.op('full', [], { shape: [], dtype: 'float32', value: 0 });
    const isAbove = b.op('greater', [0, zero], {});
    return b.program([b.op('where', [isAbove, 1, zero], {})]);
  };

  test('the gradient of a large relu is made of ops that are shared', () => {
    const text = names(lowerProgram(gradientOfRelu(128, 1024), SHARED).bytes);
    expect(text).toMatch(/BitCast/);
    expect(text).not.toMatch(/Where|Greater/);
  });

  test('others are left as they are', () => {
    expect(names(lowerProgram(gradientOfRelu(100), SHARED).bytes)).toMatch(/Greater.*Where/s);
    const alone = lowerProgram(gradientOfRelu(128, 1024)).bytes;
    expect(names(alone)).toMatch(/Greater.*Where/s);
    const b = new Builder(f(128, 1024), f(128, 1024));
    const one = b.op('full', [], { shape: [], dtype: 'float32', value: 1 });
    const zero = b.op('full', [], { shape: [], dtype: 'float32', value: 0 });
    const isAbove = b.op('greater', [0, one], {});
    const other = b.program([b.op('where', [isAbove, 1, zero], {})]);
    expect(names(lowerProgram(other, SHARED).bytes)).toMatch(/Greater.*Where/s);
  });

  test('a comparison that others read is made for them', () => {
    const { inputs, nodes, outputs } = gradientOfRelu(128, 1024);
    const isAbove = inputs.length + nodes.findIndex(({ op }) => op === 'greater');
    const text = names(
      lowerProgram({ inputs, nodes, outputs: [...outputs, isAbove] }, SHARED).bytes,
    );
    expect(text).toMatch(/Greater/);
    expect(text).not.toMatch(/Where/);
  });

  test('sums over images and pixels take the pixels first', () => {
    const b = new Builder(f(4, 3, 8, 8));
    const program = b.program([b.op('sum', [0], { axes: [0, 2, 3], keepDims: false })]);
    const sums = (bytes: Uint8Array): number => names(bytes).match(/ReduceSum/g)?.length ?? 0;
    expect(sums(lowerProgram(program, SHARED).bytes)).toBe(2);
    expect(sums(lowerProgram(program).bytes)).toBe(1);
  });
});
