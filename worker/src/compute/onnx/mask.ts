/**
 * @file `where(x > 0, y, 0)`, the gradient of relu, without ONNX Runtime's Where, which one thread does alone, in three passes.
 */
import type { OpParams, Program } from '@ravenlab/protocol';
import { sameShape, sizeOf, valueType } from '@ravenlab/protocol';
import type { ModelBuilder, ValueName } from './modelBuilder.js';
import { ONNX_TYPE } from './modelBuilder.js';

/** Of fewer elements Where is done before other threads are awake. */
const ELEMENTS_MIN = 2 ** 17;

/** Value ids of what is kept where another one is above zero. */
export interface Mask {
  readonly sign: number;
  readonly kept: number;
}

export interface Masks {
  /** By the value id of their `where`. */
  readonly byWhere: ReadonlyMap<number, Mask>;
  /** Value ids of comparisons that nobody else reads. */
  readonly absorbed: ReadonlySet<number>;
}

export const NO_MASKS: Masks = { byWhere: new Map(), absorbed: new Set() };

/** @param uses How often each value is read (countUses). */
export function findMasks(program: Program, uses: readonly number[]): Masks {
  const byWhere = new Map<number, Mask>();
  const absorbed = new Set<number>();
  const nodeOf = (id = -1) => program.nodes[id - program.inputs.length];
  const isZero = (id = -1): boolean => {
    const node = nodeOf(id);
    return node?.op === 'full' && Object.is((node.params as OpParams['full']).value, 0);
  };
  program.nodes.forEach((node, index) => {
    if (node.op !== 'where' || node.type.dtype !== 'float32') return;
    const [condition = 0, kept = 0, otherwise] = node.inputs;
    const comparison = nodeOf(condition);
    if (comparison?.op !== 'greater' || !isZero(otherwise) || !isZero(comparison.inputs[1])) return;
    const [sign = 0] = comparison.inputs;
    const types = [valueType(program, sign), valueType(program, kept)];
    const { shape } = node.type;
    const isWhole = types.every((type) => type.dtype === 'float32' && sameShape(type.shape, shape));
    if (!isWhole || sizeOf(shape) < ELEMENTS_MIN) return;
    byWhere.set(program.inputs.length + index, { sign, kept });
    if (uses[condition] === 1) absorbed.add(condition);
  });
  return { byWhere, absorbed };
}

/**
 * Bits of floats are products of integers here: those of `kept` and 1 where `sign` is above zero, else 0. So infinity and NaN
 * are zero, too, where they are not kept. (A NaN in `sign`, which is above nothing, may count as above zero: then the values that this is
 * the gradient of are NaN as well.)
 */
export function emitMasked(graph: ModelBuilder, sign: ValueName, kept: ValueName): ValueName {
  const [zero, one] = [graph.scalar('int32', 0), graph.scalar('int32', 1)];
  // Twice as much is as far above zero, and belongs to nobody else: what somebody reads again is copied for a cast, on one thread.
  const twice = graph.node('Mul', [sign, graph.scalar('float32', 2)]);
  const isAbove = graph.node('Clip', [bitsAs(graph, twice, 'int32'), zero, one]);
  return bitsAs(graph, graph.node('Mul', [bitsAs(graph, kept, 'int32'), isAbove]), 'float32');
}

/** The same bits, seen as another type. */
function bitsAs(graph: ModelBuilder, x: ValueName, dtype: 'int32' | 'float32'): ValueName {
  return graph.node('BitCast', [x], { to: ONNX_TYPE[dtype] });
}
