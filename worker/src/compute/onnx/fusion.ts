/** @file Finds what can be one kernel instead of two: a product or convolution with the bias added to it. */
import type { OpParams, Program, ProgramNode, TensorType } from '@ravenlab/protocol';
import { sizeOf, valueType } from '@ravenlab/protocol';
import { isPlainProduct } from './emitMatMul.js';

export interface BiasFusion {
  readonly linear: 'matMul' | 'conv2d';
  readonly linearNode: ProgramNode;
  /** Value id of the bias. */
  readonly bias: number;
}

export interface BiasFusions {
  /** Fusions by the value id of their `add`. */
  readonly byAdd: ReadonlyMap<number, BiasFusion>;
  /** Value ids of products and convolutions that only a fusion computes. */
  readonly absorbed: ReadonlySet<number>;
}

/** @param uses How often each value is read (countUses). */
export function findBiasFusions(program: Program, uses: readonly number[]): BiasFusions {
  const byAdd = new Map<number, BiasFusion>();
  const absorbed = new Set<number>();
  program.nodes.forEach((node, index) => {
    if (node.op !== 'add' || sizeOf(node.type.shape) === 0) return;
    const [left = 0, right = 0] = node.inputs;
    const first = fusionOf(program, uses, node, { linear: left, bias: right });
    const found = first ?? fusionOf(program, uses, node, { linear: right, bias: left });
    if (found === undefined) return;
    byAdd.set(program.inputs.length + index, found);
    absorbed.add(first === undefined ? right : left);
  });
  return { byAdd, absorbed };
}

function fusionOf(
  program: Program,
  uses: readonly number[],
  add: ProgramNode,
  { linear, bias }: { readonly linear: number; readonly bias: number },
): BiasFusion | undefined {
  const node = program.nodes[linear - program.inputs.length];
  if (node === undefined || uses[linear] !== 1) return undefined;
  const { shape } = node.type;
  if (shape.length !== add.type.shape.length || sizeOf(shape) !== sizeOf(add.type.shape)) {
    return undefined;
  }
  const operands = node.inputs.map((input) => valueType(program, input));
  const [a, b] = operands;
  if (a === undefined || b === undefined || operands.some((type) => sizeOf(type.shape) === 0)) {
    return undefined;
  }
  const biasType = valueType(program, bias);
  const fits =
    (node.op === 'matMul' &&
      isPlainProduct(a, b, node.params as OpParams['matMul']) &&
      variesAlong(biasType, shape, shape.length - 1)) ||
    (node.op === 'conv2d' && variesAlong(biasType, shape, 1));
  if (!fits) return undefined;
  return { linear: node.op === 'matMul' ? 'matMul' : 'conv2d', linearNode: node, bias };
}

/** True when a tensor that broadcasts to `shape` has the extent of `axis` there and 1 everywhere else. */
function variesAlong(type: TensorType, shape: readonly number[], axis: number): boolean {
  const offset = shape.length - type.shape.length;
  if (offset < 0 || axis < offset) return false;
  return type.shape.every((extent, i) => extent === (i + offset === axis ? shape[axis] : 1));
}

/** How often each value is read by nodes that matter or by the outputs; 0 means dead. */
export function countUses(program: Program): number[] {
  const uses = new Array<number>(program.inputs.length + program.nodes.length).fill(0);
  const add = (id: number): void => {
    uses[id] = (uses[id] ?? 0) + 1;
  };
  program.outputs.forEach(add);
  for (let index = program.nodes.length - 1; index >= 0; index--) {
    const node = program.nodes[index];
    if (node === undefined || uses[program.inputs.length + index] === 0) continue;
    // The host reads the key; the graph does not.
    if (node.op !== 'randomUniform') node.inputs.forEach(add);
  }
  return uses;
}
