/**
 * @file Which outputs of a program can be checked without running it: products of what its inputs give at little cost, and
 * sums of such a product with more of it. Pure; what is found says how the check is made, not what it finds.
 *
 * Only ops that every backend computes to the same bits may stand before a product: they move or select values, or round
 * once as IEEE 754 says. Nothing but additions and changes of shape may stand behind it.
 */
import type { OpName, Program, ProgramNode } from '@ravenlab/protocol';
import { ENGINE_LIMITS, programCost, sizeOf, valueType } from '@ravenlab/protocol';
import type { CheckedOp } from './products.js';
import { CHECKED_OPS, productsOf } from './products.js';

/** Something that is added to a product: a value in the shape that it is broadcast to. */
export interface Addend {
  readonly value: number;
  /** The node that adds it: its type is the shape. */
  readonly node: number;
}

/** One output and the product that it is. Nodes and values are numbered as the program numbers them. */
export interface ProvableOutput {
  readonly output: number;
  readonly node: number;
  readonly addends: readonly Addend[];
  /** Roundings of its operands that a worker may do after the product instead. */
  readonly roundings: number;
}

/** What it takes to check outputs of a program. */
export interface Proof {
  readonly outputs: readonly ProvableOutput[];
  /** Nodes that make operands and addends, in the program's order. */
  readonly nodes: readonly number[];
  /** Program inputs that are read. */
  readonly inputs: readonly number[];
  /** Arithmetic of the check of one unit, when no row has to be computed again. */
  readonly flops: number;
}

/** Roundings that each op before a product adds. */
const ROUNDINGS: Partial<Record<OpName, number>> = {
  ...{ full: 0, iota: 0, cast: 0, where: 0, clip: 0, neg: 0, abs: 0, sign: 0, floor: 0, relu: 0 },
  ...{ maximum: 0, minimum: 0, add: 0, sub: 0, mul: 1, roundFloat16: 0 },
  ...{ equal: 0, notEqual: 0, less: 0, lessEqual: 0, greater: 0, greaterEqual: 0 },
  ...{ logicalNot: 0, logicalAnd: 0, logicalOr: 0 },
  ...{ reshape: 0, transpose: 0, broadcastTo: 0, concat: 0, slice: 0, pad: 0, tile: 0 },
  ...{ reverse: 0, gather: 0, oneHot: 0 },
};

/** A table with one row a value of a program. */
class Origins {
  private readonly program: Program;
  /** Roundings on the way from the program's inputs; null when the way is not cheap. */
  private readonly known: (number | null)[];

  constructor(program: Program) {
    this.program = program;
    this.known = program.inputs.map(() => 0);
    for (const { op, inputs, type } of program.nodes) {
      // What is too large for an int32 becomes one in more ways than one.
      const own = op === 'cast' && type.dtype !== 'float32' ? undefined : ROUNDINGS[op];
      const before = inputs.map((id) => this.of(id));
      const isCheap = own !== undefined && before.every((each) => each !== null);
      this.known.push(isCheap ? own + Math.max(0, ...before.map(Number)) : null);
    }
  }

  of(value: number): number | null {
    return this.known[value] ?? null;
  }

  isCheap(value: number): boolean {
    return this.of(value) !== null;
  }

  nodeOf(value: number): ProgramNode | undefined {
    return this.program.nodes[value - this.program.inputs.length];
  }
}

const isChecked = (op: OpName): op is CheckedOp => CHECKED_OPS.some((checked) => checked === op);

/** Walks back from an output over what was added, to the product; null when there is none. */
function trace(program: Program, origins: Origins, output: number): ProvableOutput | null {
  const addends: Addend[] = [];
  let value = program.outputs[output] ?? -1;
  const whole = sizeOf(valueType(program, value).shape);
  for (;;) {
    const node = origins.nodeOf(value);
    if (node?.type.dtype !== 'float32' || sizeOf(node.type.shape) !== whole) return null;
    const index = value - program.inputs.length;
    const [first = -1, second = -1] = node.inputs;
    if (isChecked(node.op)) {
      const [a, b] = [origins.of(first), origins.of(second)];
      if (a === null || b === null) return null;
      return { output, node: index, addends, roundings: a + b };
    }
    if (node.op === 'add') {
      const [sum, addend] = origins.isCheap(second) ? [first, second] : [second, first];
      if (!origins.isCheap(addend)) return null;
      addends.push({ value: addend, node: index });
      value = sum;
    } else if (node.op === 'reshape') value = first;
    else return null;
  }
}

/** Reads and multiplications of the check itself; 0 for a product of nothing. */
function flopsOf(program: Program, { node, addends }: ProvableOutput): number {
  const found = program.nodes[node];
  if (found === undefined || !isChecked(found.op)) return 0;
  const unread = (id: number) => ({ type: valueType(program, id), data: [] });
  const products = productsOf(found.op, {
    params: found.params as never,
    inputs: found.inputs.map(unread),
    output: { type: found.type, data: [] },
  });
  let flops = 0;
  for (const { rows, inner, columns } of products) {
    flops += 2 * (rows * inner + inner * columns + (1 + addends.length) * rows * columns);
  }
  return flops;
}

/** Nodes that the check has to compute, and inputs that it reads, of one output. */
function needsOf(program: Program, { node, addends }: ProvableOutput): Set<number> {
  const needed = new Set<number>();
  const open = [...(program.nodes[node]?.inputs ?? []), ...addends.map(({ value }) => value)];
  for (let id = open.pop(); id !== undefined; id = open.pop()) {
    if (needed.has(id)) continue;
    needed.add(id);
    open.push(...(program.nodes[id - program.inputs.length]?.inputs ?? []));
  }
  return needed;
}

/**
 * How to check outputs of a program for at most `checkPercent` of what running it costs.
 * @returns null when there is none that can be.
 */
export function proofOf(program: Program): Proof | null {
  const origins = new Origins(program);
  const offset = program.inputs.length;
  const most = (programCost(program).flops * ENGINE_LIMITS.checkPercent) / 100;
  const outputs: ProvableOutput[] = [];
  const needed = new Set<number>();
  let flops = 0;
  for (const output of program.outputs.keys()) {
    const found = trace(program, origins, output);
    if (found === null) continue;
    const fresh = [...needsOf(program, found)].filter((id) => !needed.has(id));
    const made = fresh.filter((id) => id >= offset);
    const elements = made.reduce((sum, id) => sum + sizeOf(valueType(program, id).shape), 0);
    const cost = flopsOf(program, found) + elements;
    if (cost === 0 || flops + cost > most) continue;
    flops += cost;
    outputs.push(found);
    for (const id of fresh) needed.add(id);
  }
  if (outputs.length === 0) return null;
  const ids = [...needed].sort((a, b) => a - b);
  const nodes = ids.filter((id) => id >= offset).map((id) => id - offset);
  return { outputs, nodes, inputs: ids.filter((id) => id < offset), flops };
}
