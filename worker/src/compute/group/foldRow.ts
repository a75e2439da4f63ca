/**
 * @file What it is to run an op on several units at once: where the rows of the units lie afterwards. Shapes only; whether
 * the bits stay those of one unit at a time is a backend's knowledge (onnx/foldBits.ts).
 */
import type { OpName, OpParams, ProgramNode, TensorType } from '@ravenlab/protocol';

/** The units' values of one operand: end to end along an axis, with no such axis, or one value for all units. */
export type Lie = number | 'apart' | 'shared';

export interface FoldSite<N extends OpName> {
  readonly params: OpParams[N];
  /** Of one unit's operands. */
  readonly types: readonly TensorType[];
  /** Of one unit's result. */
  readonly type: TensorType;
  /** By operand. At least one is not shared. */
  readonly lies: readonly Lie[];
  /** How many units lie end to end. */
  readonly units: number;
}

/** How one evaluation does the work of all units. */
export interface Fold {
  /** By operand: along which axis the units' values must lie end to end, or that one value serves them all. */
  readonly operands: readonly (number | 'shared')[];
  /** Axis of the result along which the units' results lie end to end. */
  readonly axis: number;
  /** For all units; left out where they are those of one. */
  readonly params?: ProgramNode['params'];
}

/** Null: only one unit at a time. */
export type FoldRow<N extends OpName> = (site: FoldSite<N>) => Fold | null;

export type FoldRows<N extends OpName> = { readonly [Name in N]: FoldRow<Name> };

export function shapeAt(site: Pick<FoldSite<OpName>, 'types'>, index: number): readonly number[] {
  return site.types[index]?.shape ?? [];
}

/** `shape` with room for all units along `axis`. */
export function widened(shape: readonly number[], axis: number, units: number): number[] {
  return shape.map((extent, i) => (i === axis ? extent * units : extent));
}

/** One operand whose axes stay where they are, unless the op works along that of the units. */
export function keeps<N extends OpName>(
  worksAlong: (site: FoldSite<N>, axis: number) => boolean,
): FoldRow<N> {
  return (site) => {
    const [axis] = site.lies;
    if (typeof axis !== 'number' || worksAlong(site, axis)) return null;
    return { operands: [axis], axis };
  };
}

/**
 * Elementwise: operands are aligned from their last axis. A shared operand that has the units' axis is repeated, others
 * are broadcast.
 */
export const aligned: FoldRow<OpName> = ({ lies, types, type }) => {
  const rank = type.shape.length;
  const offset = (index: number): number => rank - (types[index]?.shape.length ?? 0);
  const first = lies.findIndex((lie) => typeof lie === 'number');
  const lie = lies[first];
  if (typeof lie !== 'number') return null;
  const axis = lie + offset(first);
  const operands: (number | 'shared')[] = [];
  for (const [index, each] of lies.entries()) {
    const own = axis - offset(index);
    const extent = types[index]?.shape[own] ?? 1;
    if (each === 'shared') operands.push(extent === 1 ? 'shared' : own);
    else if (each === own && extent === type.shape[axis]) operands.push(own);
    else return null;
  }
  return { operands, axis };
};
