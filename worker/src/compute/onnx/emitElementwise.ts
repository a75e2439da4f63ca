/** @file ONNX emission of sources, elementwise arithmetic, comparison and selection. */
import type { OPS } from '@ravenlab/protocol';
import { sizeOf } from '@ravenlab/protocol';
import type { Emit, EmitRows } from './emitRow.js';
import { direct, operand } from './emitRow.js';
import type { ModelBuilder, Operand, ValueName } from './modelBuilder.js';
import { ONNX_TYPE } from './modelBuilder.js';
import { LOG_ELEMENTS, LOG_PIECES } from './threadCut.js';

type ElementwiseOp =
  | 'full'
  | 'iota'
  | 'randomUniform'
  | 'cast'
  | 'where'
  | 'clip'
  | 'neg'
  | 'abs'
  | 'sign'
  | 'floor'
  | 'exp'
  | 'log'
  | 'sqrt'
  | 'rsqrt'
  | 'sin'
  | 'cos'
  | 'tanh'
  | 'sigmoid'
  | 'erf'
  | 'relu'
  | 'roundFloat16'
  | 'finiteOr'
  | 'logicalNot'
  | 'add'
  | 'sub'
  | 'mul'
  | 'div'
  | 'pow'
  | 'maximum'
  | 'minimum'
  | 'equal'
  | 'notEqual'
  | 'less'
  | 'lessEqual'
  | 'greater'
  | 'greaterEqual'
  | 'logicalAnd'
  | 'logicalOr';

const iota: Emit<'iota'> = (_inputs, { graph, params, type }) => {
  const { shape } = type;
  const extent = shape[params.axis] ?? 1;
  const line = graph.node('Range', [
    graph.scalar('int32', 0),
    graph.scalar('int32', extent),
    graph.scalar('int32', 1),
  ]);
  if (shape.length === 1) return line;
  const aligned = shape.map((_, axis) => (axis === params.axis ? extent : 1));
  const column = graph.node('Reshape', [line, graph.int64s(aligned)]);
  return sizeOf(shape) === extent ? column : graph.node('Expand', [column, graph.int64s(shape)]);
};

const cast: Emit<'cast'> = (inputs, { graph, params }) => {
  const x = operand(inputs, 0);
  if (x.type.dtype === params.dtype) return x.name;
  return graph.node('Cast', [x.name], { to: ONNX_TYPE[params.dtype] });
};

/** There and back: ONNX Runtime keeps a pair of casts that loses something. */
const roundFloat16: Emit<'roundFloat16'> = (inputs, { graph }) => {
  const half = graph.node('Cast', [operand(inputs, 0).name], { to: ONNX_TYPE.float16 });
  return graph.node('Cast', [half], { to: ONNX_TYPE.float32 });
};

const MAX_FLOAT32 = (2 - 2 ** -23) * 2 ** 127;

/** A comparison that NaN and infinity fail. */
const finiteOr: Emit<'finiteOr'> = (inputs, { graph, params }) => {
  const { name } = operand(inputs, 0);
  const size = graph.node('Abs', [name]);
  const isFinite = graph.node('LessOrEqual', [size, graph.scalar('float32', MAX_FLOAT32)]);
  return graph.node('Where', [isFinite, name, graph.scalar('float32', params.value)]);
};

/** `condition ? a : b`; ONNX Runtime has no Where for bool, so there it is logic. */
export function select(
  graph: ModelBuilder,
  condition: ValueName,
  a: Operand,
  b: Operand,
): ValueName {
  if (a.type.dtype !== 'bool') return graph.node('Where', [condition, a.name, b.name]);
  const taken = graph.node('And', [condition, a.name]);
  const otherwise = graph.node('And', [graph.node('Not', [condition]), b.name]);
  return graph.node('Or', [taken, otherwise]);
}

const clip: Emit<'clip'> = (inputs, { graph, params }) => {
  const { min, max } = params;
  if (min === -Infinity && max === Infinity) return operand(inputs, 0).name;
  return graph.node('Clip', [
    operand(inputs, 0).name,
    min === -Infinity ? '' : graph.scalar('float32', min),
    max === Infinity ? '' : graph.scalar('float32', max),
  ]);
};

/** In pieces that one thread makes whole. */
const log: Emit<'log'> = (inputs, { graph, type }) => {
  const x = operand(inputs, 0);
  const size = sizeOf(type.shape);
  const whole = Math.floor(size / LOG_ELEMENTS);
  if (whole === 0 || size === LOG_ELEMENTS) return graph.node('Log', [x.name]);
  if (whole >= LOG_PIECES) {
    graph.limitThreads(1);
    return graph.node('Log', [x.name]);
  }
  const rest = size % LOG_ELEMENTS;
  const sizes = [...new Array<number>(whole).fill(LOG_ELEMENTS), ...(rest > 0 ? [rest] : [])];
  const line = graph.node('Reshape', [x.name, graph.int64s([size])]);
  const pieces = graph.multi({
    op: 'Split',
    inputs: [line, graph.int64s(sizes)],
    attributes: { axis: 0 },
    outputs: sizes.length,
  });
  const logs = pieces.map((piece) => graph.node('Log', [piece]));
  const joined = graph.node('Concat', logs, { axis: 0 });
  return graph.node('Reshape', [joined, graph.int64s(type.shape)]);
};

export const EMIT_ELEMENTWISE: EmitRows<ElementwiseOp & keyof typeof OPS> = {
  full: (_inputs, { graph, params, type }) => graph.filled(type, params.value),
  iota,
  randomUniform: () => {
    throw new Error(
      'randomUniform is drawn on the host and enters as an input; lower.ts never emits it',
    );
  },
  cast,
  where: (inputs, { graph }) =>
    select(graph, operand(inputs, 0).name, operand(inputs, 1), operand(inputs, 2)),
  clip,
  neg: direct('Neg'),
  abs: direct('Abs'),
  sign: direct('Sign'),
  floor: direct('Floor'),
  exp: direct('Exp'),
  log,
  sqrt: direct('Sqrt'),
  rsqrt: (inputs, { graph }) =>
    graph.node('Reciprocal', [graph.node('Sqrt', [operand(inputs, 0).name])]),
  sin: direct('Sin'),
  cos: direct('Cos'),
  tanh: direct('Tanh'),
  sigmoid: direct('Sigmoid'),
  erf: direct('Erf'),
  relu: direct('Relu'),
  roundFloat16,
  finiteOr,
  logicalNot: direct('Not'),
  add: direct('Add'),
  sub: direct('Sub'),
  mul: direct('Mul'),
  div: direct('Div'),
  pow: direct('Pow'),
  maximum: direct('Max'),
  minimum: direct('Min'),
  equal: direct('Equal'),
  notEqual: (inputs, { graph }) =>
    graph.node('Not', [graph.node('Equal', [operand(inputs, 0).name, operand(inputs, 1).name])]),
  less: direct('Less'),
  lessEqual: direct('LessOrEqual'),
  greater: direct('Greater'),
  greaterEqual: direct('GreaterOrEqual'),
  logicalAnd: direct('And'),
  logicalOr: direct('Or'),
};
