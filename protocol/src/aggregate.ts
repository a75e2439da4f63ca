/** @file How the gradients of a step's micro-shards become one: a sum, or what few of them cannot pull far. The rules only. */

/** Coordinate by coordinate the mean without the share `trim` of the largest values and as many of the smallest. */
export interface TrimmedMean {
  readonly kind: 'trimmedMean';
  /** From 0, which leaves out nothing, to below 0.5. */
  readonly trim: number;
}

/**
 * The mean in which no micro-shard counts further from the middle than `radius` (Karimireddy, He, Jaggi: Learning from History for
 * Byzantine Robust Optimization, 2021), from the median on.
 */
export interface CenteredClip {
  readonly kind: 'centeredClip';
  /** Global L2 norm, in units of the whole batch's gradient; above 0. */
  readonly radius: number;
}

export type Aggregate = 'sum' | TrimmedMean | CenteredClip;
export type RobustRule = Exclude<Aggregate, 'sum'>;

/** For an error: what would be a rule. */
export const AGGREGATE_FORMS =
  "'sum', { kind: 'trimmedMean', trim: 0 … 0.5 } or { kind: 'centeredClip', radius: above 0 }";

/** @returns the rule in fields of its own; null when `value` is none. */
export function readAggregate(value: unknown): Aggregate | null {
  if (value === 'sum') return value;
  if (typeof value !== 'object' || value === null) return null;
  const { kind, trim, radius } = value as Readonly<Record<string, unknown>>;
  if (kind === 'trimmedMean') {
    return typeof trim === 'number' && trim >= 0 && trim < 0.5 ? { kind, trim } : null;
  }
  if (kind !== 'centeredClip') return null;
  return typeof radius === 'number' && radius > 0 && Number.isFinite(radius)
    ? { kind, radius }
    : null;
}
