/** @file A program cut for micro-shards of any size: placed values, and the program that one size gives. */
import type { AnyParams, OpName, Program, ProgramNode, TensorType } from '@ravenlab/protocol';
import { RavenError, formatShape, inferOp, sameShape } from '@ravenlab/protocol';
import type { Localize, Placement } from './placement.js';
import { localShape, placementKey } from './placement.js';

export interface RecipeInput {
  readonly kind: 'input';
  /** Input of the whole-batch program, cut along the placement's axis if it has one. */
  readonly input: number;
  readonly type: TensorType;
  readonly placement: Placement;
}

export interface RecipeNode {
  readonly kind: 'node';
  readonly op: OpName;
  readonly inputs: readonly number[];
  readonly params: (local: Localize) => AnyParams;
  /** Whole type. */
  readonly type: TensorType;
  readonly placement: Placement;
  /** Node of the whole-batch program that this one stands for. */
  readonly source: number;
}

/** A value; its position is its id, and inputs come before their users. */
export type RecipeValue = RecipeInput | RecipeNode;

export interface Recipe {
  readonly inputs: readonly RecipeInput[];
  /** Ids: inputs first, then nodes, as in a program. */
  readonly nodes: readonly RecipeNode[];
  readonly outputs: readonly number[];
}

/** Keeps what the outputs need and numbers it as a program does. */
export function recipeOf(values: readonly RecipeValue[], outputs: readonly number[]): Recipe {
  const used = new Set(outputs);
  for (let id = values.length - 1; id >= 0; id--) {
    const value = values[id];
    if (value?.kind === 'node' && used.has(id)) value.inputs.forEach((input) => used.add(input));
  }
  const kept = values.flatMap((value, id) => (used.has(id) ? [{ value, id }] : []));
  const inputs: RecipeInput[] = [];
  const nodes: RecipeNode[] = [];
  const ids = new Map<number, number>();
  for (const { value, id } of kept) {
    if (value.kind === 'input') ids.set(id, inputs.push(value) - 1);
  }
  const renumber = (id: number): number => ids.get(id) ?? -1;
  for (const { value, id } of kept) {
    if (value.kind === 'input') continue;
    const position = nodes.push({ ...value, inputs: value.inputs.map(renumber) }) - 1;
    ids.set(id, inputs.length + position);
  }
  return { inputs, nodes, outputs: outputs.map(renumber) };
}

/** The value behind a recipe id. */
export function recipeValue(recipe: Recipe, id: number): RecipeValue {
  const value = recipe.inputs[id] ?? recipe.nodes[id - recipe.inputs.length];
  if (value === undefined) throw new RavenError('internal', `recipe has no value ${String(id)}`);
  return value;
}

/**
 * The program of one micro-shard of `size` rows of a batch of `rows`. Every inferred type is checked against the
 * placement: a wrong rule stops here instead of giving wrong numbers.
 */
export function instantiate(recipe: Recipe, rows: number, size: number): Program {
  const local: Localize = (extent) => (extent / rows) * size;
  const types: TensorType[] = recipe.inputs.map(({ type, placement }) => ({
    dtype: type.dtype,
    shape: localShape(type.shape, placement, local),
  }));
  const nodes = recipe.nodes.map((node): ProgramNode => {
    const params = node.params(local);
    const inputs = node.inputs.map((id) => types[id]).filter((type) => type !== undefined);
    const type = inferOp(node.op, inputs, params as never);
    if (!sameShape(type.shape, localShape(node.type.shape, node.placement, local))) {
      throw new RavenError(
        'internal',
        `placement of ${node.op} is wrong: ${formatShape(node.type.shape)} as ${placementKey(node.placement)} ` +
          `with ${String(size)} of ${String(rows)} rows gives ${formatShape(type.shape)}`,
      );
    }
    types.push(type);
    return { op: node.op, inputs: node.inputs, params, type };
  });
  return { inputs: types.slice(0, recipe.inputs.length), nodes, outputs: recipe.outputs };
}
