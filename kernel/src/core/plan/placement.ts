/**
 * @file Placements of a value over the micro-shards of a step, and what one row of the placement table is.
 * Words as in PyTorch DTensor; the "mesh" here is the list of micro-shards, not of workers.
 */
import type { OpName, OpParams, Shape, TensorType } from '@ravenlab/protocol';

/**
 * - `replicate`: every micro-shard holds the whole value.
 * - `shard`: each holds its rows along `axis`, in shard order. The axis' extent is a multiple of the batch size: a row
 *   of the batch owns as many consecutive indices.
 * - `partial`: each holds a term; the value is their sum.
 */
export type Placement =
  | { readonly kind: 'replicate' }
  | { readonly kind: 'shard'; readonly axis: number }
  | { readonly kind: 'partial' };

export const REPLICATE: Placement = { kind: 'replicate' };
export const PARTIAL: Placement = { kind: 'partial' };

export function shard(axis: number): Placement {
  return { kind: 'shard', axis };
}

export function samePlacement(a: Placement, b: Placement): boolean {
  return a.kind === b.kind && (a.kind !== 'shard' || b.kind !== 'shard' || a.axis === b.axis);
}

export function placementKey(placement: Placement): string {
  return placement.kind === 'shard' ? `shard${String(placement.axis)}` : placement.kind;
}

/** The sharded axis, -1 if there is none. */
export function shardAxis(placement: Placement | undefined): number {
  return placement?.kind === 'shard' ? placement.axis : -1;
}

/** Extent in one micro-shard of an extent that is a multiple of the batch size. */
export type Localize = (extent: number) => number;

/** One way to run an op on micro-shards: placements it needs, the placement that comes out, its parameters then. */
export interface Strategy<N extends OpName> {
  readonly inputs: readonly Placement[];
  readonly output: Placement;
  /** Parameters of a micro-shard, for ops whose parameters carry the batch size. */
  readonly params?: (local: Localize) => OpParams[N];
}

export interface PlacementContext<N extends OpName> {
  readonly params: OpParams[N];
  /** Placements that the inputs have now. The planner can convert some: constants, and replicate → partial. */
  readonly inputs: readonly Placement[];
  /** Whole types. */
  readonly types: readonly TensorType[];
  readonly output: TensorType;
  /** Rows of the batch. */
  readonly rows: number;
  /** Whether constants whose first extent is the batch size are rows of the batch unless something says otherwise. */
  readonly eager: boolean;
}

/**
 * Strategies of an op, best first. None that fits means: this op needs the whole batch at once.
 * Every strategy gives the same value as the op on whole tensors, except where the row says so.
 */
export type PlacementRule<N extends OpName> = (
  context: PlacementContext<N>,
) => readonly Strategy<N>[];
export type PlacementRules = { readonly [N in OpName]: PlacementRule<N> };

/** Shape of a micro-shard's part of `shape`. */
export function localShape(shape: Shape, placement: Placement, local: Localize): number[] {
  const axis = shardAxis(placement);
  return shape.map((extent, i) => (i === axis ? local(extent) : extent));
}

/** Distinct sharded axes among placements, in input order. */
export function shardedAxes(placements: readonly Placement[]): number[] {
  return [...new Set(placements.map(shardAxis).filter((axis) => axis >= 0))];
}
