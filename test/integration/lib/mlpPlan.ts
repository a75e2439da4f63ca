/**
 * @file A two-layer perceptron as programs and plans, written out by hand: what the engine's own tests train, so that they
 * depend on nothing but the protocol.
 */
import { createHash } from 'node:crypto';
import type {
  AnyParams,
  ExecutionPlan,
  OpName,
  PlanOutput,
  Program,
  ProgramHash,
  ProgramNode,
  RunId,
  StateId,
  StateVersion,
  TensorType,
  UpdateRule,
} from '@ravenlab/protocol';
import { encodeProgram, inferOp } from '@ravenlab/protocol';

/** Appends nodes with inferred types. */
class ProgramBuilder {
  private readonly inputs: TensorType[] = [];
  private readonly nodes: ProgramNode[] = [];

  /** All inputs come before the first node. */
  input(type: TensorType): number {
    if (this.nodes.length > 0) throw new Error('inputs come first');
    return this.inputs.push(type) - 1;
  }

  op(op: OpName, inputs: readonly number[], params: AnyParams = {}): number {
    const types = inputs.map((id) => this.typeOf(id));
    const type = inferOp(op, types, params as never);
    this.nodes.push({ op, inputs, params, type });
    return this.inputs.length + this.nodes.length - 1;
  }

  typeOf(id: number): TensorType {
    const type = this.inputs[id] ?? this.nodes[id - this.inputs.length]?.type;
    if (type === undefined) throw new Error(`no value ${String(id)}`);
    return type;
  }

  program(outputs: readonly number[]): Program {
    return { inputs: this.inputs, nodes: this.nodes, outputs };
  }
}

export interface EncodedProgram {
  readonly hash: ProgramHash;
  readonly bytes: Uint8Array;
  readonly program: Program;
}

function encoded(program: Program): EncodedProgram {
  const bytes = encodeProgram(program);
  const hash = createHash('sha256').update(bytes).digest('hex') as ProgramHash;
  return { hash, bytes, program };
}

export const float32 = (...shape: number[]): TensorType => ({ dtype: 'float32', shape });

export interface MlpShape {
  readonly features: number;
  readonly hidden: number;
  readonly classes: number;
}

/**
 * Loss and gradients of one micro-shard: relu(x·W1)·W2 against y by squared error, divided by the rows of the whole batch.
 * Inputs: W1 [features, hidden], W2 [hidden, classes], x [rows, features], y [rows, classes]. Outputs: loss, dW1, dW2.
 */
function mlpProgram(shape: MlpShape, rows: number, batch: number): EncodedProgram {
  const { features, hidden, classes } = shape;
  const b = new ProgramBuilder();
  const w1 = b.input(float32(features, hidden));
  const w2 = b.input(float32(hidden, classes));
  const x = b.input(float32(rows, features));
  const y = b.input(float32(rows, classes));
  const mm = (p: number, q: number, transposeA = false, transposeB = false) =>
    b.op('matMul', [p, q], { transposeA, transposeB });
  const h = b.op('relu', [mm(x, w1)]);
  const error = b.op('sub', [mm(h, w2), y]);
  const scale = b.op('full', [], { shape: [], dtype: 'float32', value: 1 / batch });
  const squares = b.op('sum', [b.op('mul', [error, error])], { axes: [0, 1], keepDims: false });
  const loss = b.op('mul', [squares, scale]);
  const two = b.op('full', [], { shape: [], dtype: 'float32', value: 2 / batch });
  const dOut = b.op('mul', [error, two]);
  const dW2 = mm(h, dOut, true);
  const zero = b.op('full', [], { shape: [], dtype: 'float32', value: 0 });
  const dH = mm(dOut, w2, false, true);
  const isOn = b.op('greater', [h, zero]);
  const masked = b.op('mul', [dH, b.op('cast', [isOn], { dtype: 'float32' })]);
  const dW1 = mm(x, masked, true);
  return encoded(b.program([loss, dW1, dW2]));
}

/** x [rows, inner] · w [inner, columns]. */
export function productProgram([rows, inner, columns]: readonly [number, number, number]) {
  const b = new ProgramBuilder();
  const [x, w] = [b.input(float32(rows, inner)), b.input(float32(inner, columns))];
  return encoded(b.program([b.op('matMul', [x, w], { transposeA: false, transposeB: false })]));
}

export const W1 = 1 as StateId;
export const W2 = 2 as StateId;

/** Small reproducible values in -0.5 … 0.5. */
export function noise(length: number, seed: number): Float32Array {
  let state = seed >>> 0 || 1;
  return Float32Array.from({ length }, () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 32 - 0.5;
  });
}

export interface StepOptions {
  readonly shape: MlpShape;
  readonly version: number;
  readonly indices: Int32Array;
  readonly shardRows: number;
  readonly programs: { readonly full: EncodedProgram; readonly rest: EncodedProgram | null };
  readonly rule: UpdateRule;
  readonly dataIds: { readonly x: number; readonly y: number };
  readonly step?: number;
  readonly steps?: number | null;
}

/** Programs of a batch: one for whole micro-shards, one for the last, smaller one. */
export function mlpPrograms(
  shape: MlpShape,
  batch: number,
  shardRows: number,
): StepOptions['programs'] {
  const rest = batch % shardRows;
  return {
    full: mlpProgram(shape, shardRows, batch),
    rest: rest === 0 ? null : mlpProgram(shape, rest, batch),
  };
}

/** One optimizer step over rows of the data tensors. */
export function mlpStep(options: StepOptions): ExecutionPlan {
  const { shape, indices, shardRows, programs, rule } = options;
  const version = options.version as StateVersion;
  const shards = [];
  for (let offset = 0; offset < indices.length; offset += shardRows) {
    const size = Math.min(shardRows, indices.length - offset);
    shards.push({ program: size === shardRows ? 0 : 1, offset, size });
  }
  const summed = (type: TensorType, deliver: boolean): PlanOutput => ({
    combine: 'sum',
    axis: 0,
    type,
    deliver,
  });
  return {
    programs: [programs.full, programs.rest].flatMap((p) => (p === null ? [] : [p.hash])),
    inputs: [
      { kind: 'state', stateId: W1, version },
      { kind: 'state', stateId: W2, version },
      { kind: 'rows', dataId: options.dataIds.x as never, indices, sharded: true },
      { kind: 'rows', dataId: options.dataIds.y as never, indices, sharded: true },
    ],
    outputs: [
      summed(float32(), true),
      summed(float32(shape.features, shape.hidden), false),
      summed(float32(shape.hidden, shape.classes), false),
    ],
    shards,
    updates: [
      { stateId: W1, output: 1, rule, optimizerId: 1 },
      { stateId: W2, output: 2, rule, optimizerId: 1 },
    ],
    clips: [],
    step: {
      runId: 'run-1' as RunId,
      step: options.step ?? options.version,
      steps: options.steps ?? null,
      epoch: 0,
      epochs: null,
      samples: indices.length,
      lossOutput: 0,
      bookmark: '',
    },
  };
}
