/** @file Program verification: what a hostile or mistaken program may not do, one refusal each. */
import type { Program, ProgramNode, TensorType } from '@ravenlab/protocol';
import {
  decodeProgram,
  encodeProgram,
  IR_VERSION,
  LIMITS,
  programCost,
  RavenError,
  RemoteProtocolError,
  valueType,
  verifyProgram,
} from '@ravenlab/protocol';
import { f32, i32 } from './opSamples.js';

const node = (
  op: ProgramNode['op'],
  inputs: number[],
  type: TensorType,
  params = {},
): ProgramNode => ({
  op,
  inputs,
  params,
  type,
});

/** relu(x · w + b), x [32, 64], w [64, 10]. */
const LAYER: Program = {
  inputs: [f32(32, 64), f32(64, 10), f32(10)],
  nodes: [
    node('matMul', [0, 1], f32(32, 10), { transposeA: false, transposeB: false }),
    node('add', [3, 2], f32(32, 10)),
    node('relu', [4], f32(32, 10)),
  ],
  outputs: [5],
};

const refusalOf = (program: Program): string => {
  try {
    verifyProgram(program);
  } catch (error) {
    expect(error).toBeInstanceOf(RemoteProtocolError);
    return (error as Error).message;
  }
  return 'accepted';
};

test('a layer is accepted and costs what its ops cost', () => {
  verifyProgram(LAYER);
  expect(valueType(LAYER, 4)).toEqual(f32(32, 10));
  // 2 · 64 · 320 for the product, 320 for the bias, 320 for relu
  expect(programCost(LAYER).flops).toBe(40_960 + 320 + 320);
  // x, w, product; product, b, sum; sum, result: 4 bytes each
  expect(programCost(LAYER).bytes).toBe(4 * (2048 + 640 + 320 + 320 + 10 + 320 + 320 + 320));
});

describe('refused:', () => {
  const [matMul, add, relu] = LAYER.nodes as [ProgramNode, ProgramNode, ProgramNode];
  const many = <T>(count: number, item: T): T[] => new Array<T>(count).fill(item);
  const cases: readonly (readonly [string, Program, RegExp])[] = [
    [
      'a read of itself',
      { ...LAYER, nodes: [matMul, node('add', [4, 2], f32(32, 10)), relu] },
      /node 1 \(add\) reads value 4 before it is defined/,
    ],
    [
      'a read of a later value',
      { ...LAYER, nodes: [node('relu', [4], f32(32, 10)), matMul] },
      /reads value 4 before/,
    ],
    [
      'a negative value id',
      { ...LAYER, nodes: [node('relu', [-1], f32(32, 10))] },
      /reads value -1 before/,
    ],
    [
      'a fractional value id',
      { ...LAYER, nodes: [node('relu', [0.5], f32(32, 10))] },
      /reads value 0.5 before/,
    ],
    [
      'a wrong type',
      { ...LAYER, nodes: [matMul, { ...add, type: f32(32, 11) }, relu] },
      /node 1 \(add\) states float32 \[32, 11\], its inputs give float32 \[32, 10\]/,
    ],
    ['a wrong dtype', { ...LAYER, nodes: [{ ...matMul, type: i32(32, 10) }] }, /states int32/],
    [
      'shapes that do not fit',
      { ...LAYER, inputs: [f32(32, 64), f32(63, 10), f32(10)] },
      /node 0: matMul: inner sizes differ/,
    ],
    ['no outputs', { ...LAYER, outputs: [] }, /0 outputs, expected 1/],
    ['an output that is no value', { ...LAYER, outputs: [6] }, /output 6 is not a value/],
    ['a negative output', { ...LAYER, outputs: [-1] }, /output -1 is not a value/],
    ['an output twice', { ...LAYER, outputs: [5, 5] }, /value 5 is listed twice/],
    ['too many outputs', { ...LAYER, outputs: many(LIMITS.programOutputs + 1, 0) }, /4097 outputs/],
    [
      'too many inputs',
      { ...LAYER, inputs: many(LIMITS.programInputs + 1, f32(1)) },
      /4097 inputs, at most 4096/,
    ],
    [
      'too many nodes',
      { ...LAYER, nodes: many(LIMITS.programNodes + 1, matMul) },
      /20001 nodes, at most 20000/,
    ],
    [
      'an input of rank 9',
      { ...LAYER, inputs: [f32(1, 1, 1, 1, 1, 1, 1, 1, 1)] },
      /input 0 has rank 9, at most 8/,
    ],
    [
      'an input of 2⁴⁰ elements',
      { ...LAYER, inputs: [f32(2 ** 20, 2 ** 20)] },
      /input 0 has shape .* more than 2147483647 elements/,
    ],
    ['a fractional extent', { ...LAYER, inputs: [f32(0.5)] }, /extents are integers ≥ 0/],
    [
      'a node that grows without end',
      {
        inputs: [f32(2 ** 16)],
        nodes: [node('broadcastTo', [0], f32(2 ** 16, 2 ** 16), { shape: [2 ** 16, 2 ** 16] })],
        outputs: [1],
      },
      /broadcastTo 0 has shape \[65536, 65536\], more than/,
    ],
    [
      'a random key that is computed',
      {
        inputs: [i32(4)],
        nodes: [
          node('neg', [0], i32(4)),
          node('randomUniform', [1], f32(2), { shape: [2], stream: 0 }),
        ],
        outputs: [2],
      },
      /the key of randomUniform must be a program input/,
    ],
  ];
  test.each(cases)('%s', (_title, program, message) => {
    expect(refusalOf(program)).toMatch(message);
    expect(refusalOf(program)).toMatch(/^malformed program: /);
  });
});

describe('bytes', () => {
  test('are little-endian words: magic RVIR, IR version, counts', () => {
    const bytes = encodeProgram(LAYER);
    expect(Buffer.from(bytes.subarray(0, 4)).toString('latin1')).toBe('RVIR');
    expect(Array.from(new Int32Array(bytes.buffer, 4, 4))).toEqual([IR_VERSION, 3, 3, 1]);
  });

  test('are few: 3 nodes take less than 200 bytes', () => {
    expect(encodeProgram(LAYER).length).toBeLessThan(200);
  });

  test('of another IR version are refused with the remedy', () => {
    const bytes = encodeProgram(LAYER);
    new Int32Array(bytes.buffer)[1] = 99;
    const decoded = decodeProgram(bytes);
    expect(decoded.ok ? '' : decoded.error.message).toMatch(
      /IR version 99, this side speaks 1; use equal releases/,
    );
  });

  test('longer than a program may be are refused before they are read', () => {
    const decoded = decodeProgram(new Uint8Array(LIMITS.programBytes + 4));
    expect(decoded.ok ? '' : decoded.error.message).toMatch(/4194308 bytes, at most 4194304/);
  });

  const encodeRefusals: readonly (readonly [string, ProgramNode, RegExp])[] = [
    ['a missing parameter', node('cast', [0], f32(32, 64)), /cast: parameter dtype is missing/],
    [
      'an unknown dtype',
      node('cast', [0], f32(32, 64), { dtype: 'float64' }),
      /dtype: float64 has no code/,
    ],
    [
      'NaN',
      node('clip', [0], f32(32, 64), { min: NaN, max: 1 }),
      /min: expected a number that is not NaN/,
    ],
    [
      'a fraction as integer',
      node('softmax', [0], f32(32, 64), { axis: 0.5 }),
      /axis: 0.5 is not an int32/,
    ],
    [
      'a long list',
      node('tile', [0], f32(32, 64), { repeats: new Array(17).fill(1) }),
      /repeats: expected 0 … 16, got 17/,
    ],
  ];
  test.each(encodeRefusals)('are not made of %s', (_title, bad, message) => {
    const encode = () => encodeProgram({ ...LAYER, nodes: [bad], outputs: [3] });
    expect(encode).toThrow(RavenError);
    expect(encode).toThrow(message);
  });
});
