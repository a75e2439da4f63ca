/**
 * @file Whether C is A·B as float32 arithmetic gives it, at the cost of reading the three: Freivalds' check in two stages.
 * Knows neither ops nor workers; `products.ts` reads convolutions as products.
 *
 * One threshold for all honest inputs does not exist: rounding grows with the spread of the summands. So the first stage is
 * strict and judges nobody: rows that fail it are computed again and held against the error bound of any order of addition.
 */

/** A claimed product, row by row; A is rows × inner, B inner × columns. */
export interface Product {
  readonly rows: number;
  readonly inner: number;
  readonly columns: number;
  /** Writes row `row` of A. */
  readonly left: (row: number, into: Float64Array) => void;
  /** Writes row `row` of B. */
  readonly right: (row: number, into: Float64Array) => void;
  /** Writes row `row` of what is said to be A·B, or A·B + the addends. */
  readonly result: (row: number, into: Float64Array) => void;
  /** Rows of what was added to it. */
  readonly addends?: readonly ((row: number, into: Float64Array) => void)[];
  /** Roundings that made elements of A and B what they are, should a worker do them after the product; 0 when left out. */
  readonly roundings?: number;
}

/** How exact a declared number format is. */
export interface Precision {
  /** Half a unit in the last place at 1. */
  readonly unit: number;
  /** Below it a summand may be flushed to zero. */
  readonly tiny: number;
}

export const FLOAT32: Precision = { unit: 2 ** -24, tiny: 2 ** -126 };

/** First stage: residuals of honest Gaussian, positive and sparse products stay below a third of it. */
const STRICT_UNITS = 8;
/** Roundings of an element beside those of its `inner` additions. */
const EXTRA_ROUNDINGS = 2;

/** right · wrong: no rounding explains it · unclear: too much would have to be computed again to tell. */
export type Opinion = 'right' | 'wrong' | 'unclear';

export interface ProductVerdict {
  readonly opinion: Opinion;
  /** First row and column that no rounding explains; -1 when there is none. */
  readonly row: number;
  readonly column: number;
  /** Rows that the second stage computed again. */
  readonly rowsComputed: number;
}

/**
 * Secret weights of the columns: continuous, so that no pair of errors cancels, and never small, so that none is overlooked.
 * @param random uniform in [0, 1), unknown to who made the result, drawn after the result is fixed.
 */
export function drawWeights(columns: number, random: () => number): Float64Array {
  const weights = new Float64Array(columns);
  for (let column = 0; column < columns; column++) {
    const sign = random() < 0.5 ? -1 : 1;
    weights[column] = sign * (0.5 + random());
  }
  return weights;
}

/** B·r and the norms of B's rows under r: the same for all results with this B. */
export interface Sketch {
  readonly weights: Float64Array;
  readonly sums: Float64Array;
  readonly norms: Float64Array;
}

export function sketchOf(product: Product, weights: Float64Array): Sketch {
  const { inner, columns } = product;
  const sums = new Float64Array(inner);
  const norms = new Float64Array(inner);
  const row = new Float64Array(columns);
  for (let p = 0; p < inner; p++) {
    product.right(p, row);
    let sum = 0;
    let squares = 0;
    for (let column = 0; column < columns; column++) {
      const weighted = (row[column] ?? 0) * (weights[column] ?? 0);
      sum += weighted;
      squares += weighted * weighted;
    }
    sums[p] = sum;
    norms[p] = Math.sqrt(squares);
  }
  return { weights, sums, norms };
}

/**
 * Checks a product against its sketch. Comparisons are `<=` without division: rows of zeros are 0 <= 0.
 * @param maxRows rows that may be computed again: whoever stays just within the bound must not make a check as dear as the product.
 */
export function checkProduct(
  product: Product,
  sketch: Sketch,
  precision: Precision = FLOAT32,
  maxRows = Infinity,
): ProductVerdict {
  const { rows, inner, columns } = product;
  const left = new Float64Array(inner);
  const result = new Float64Array(columns);
  const addends = (product.addends ?? []).map(() => new Float64Array(columns));
  let rowsComputed = 0;
  for (let row = 0; row < rows; row++) {
    product.result(row, result);
    const odd = result.findIndex((value) => !Number.isFinite(value));
    if (odd >= 0) return { opinion: 'wrong', row, column: odd, rowsComputed };
    product.left(row, left);
    addends.forEach((addend, index) => product.addends?.[index]?.(row, addend));
    if (passesStrictly(left, result, addends, sketch, precision)) continue;
    if (rowsComputed >= maxRows) return { opinion: 'unclear', row: -1, column: -1, rowsComputed };
    rowsComputed++;
    const column = firstWrong(product, left, result, addends, precision);
    if (column >= 0) return { opinion: 'wrong', row, column, rowsComputed };
  }
  return { opinion: 'right', row: -1, column: -1, rowsComputed };
}

function passesStrictly(
  left: Float64Array,
  result: Float64Array,
  addends: readonly Float64Array[],
  { weights, sums, norms }: Sketch,
  { unit }: Precision,
): boolean {
  let expected = 0;
  let scale = 0;
  for (let p = 0; p < left.length; p++) {
    const a = left[p] ?? 0;
    expected += a * (sums[p] ?? 0);
    scale += Math.abs(a) * (norms[p] ?? 0);
  }
  for (const addend of addends) {
    let squares = 0;
    for (let column = 0; column < addend.length; column++) {
      const weighted = (addend[column] ?? 0) * (weights[column] ?? 0);
      expected += weighted;
      squares += weighted * weighted;
    }
    scale += Math.sqrt(squares);
  }
  let actual = 0;
  for (let column = 0; column < result.length; column++) {
    actual += (result[column] ?? 0) * (weights[column] ?? 0);
  }
  return Math.abs(expected - actual) <= STRICT_UNITS * unit * scale;
}

/** Column of the first element that is further off than any order of addition could be; -1 for none. */
function firstWrong(
  product: Product,
  left: Float64Array,
  result: Float64Array,
  addends: readonly Float64Array[],
  { unit, tiny }: Precision,
): number {
  const { inner, columns, roundings: made = 0 } = product;
  const sums = new Float64Array(columns);
  const scales = new Float64Array(columns);
  const right = new Float64Array(columns);
  /** What may be lost where a factor, not the product, is flushed to zero. */
  const slack = tiny / unit;
  for (let p = 0; p < inner; p++) {
    const a = left[p] ?? 0;
    if (a === 0) continue;
    product.right(p, right);
    for (let column = 0; column < columns; column++) {
      const b = right[column] ?? 0;
      const flushed = slack * (Math.abs(a) + Math.abs(b));
      sums[column] = (sums[column] ?? 0) + a * b;
      scales[column] = (scales[column] ?? 0) + Math.abs(a * b) + flushed;
    }
  }
  for (const addend of addends) {
    for (let column = 0; column < columns; column++) {
      const summand = addend[column] ?? 0;
      sums[column] = (sums[column] ?? 0) + summand;
      scales[column] = (scales[column] ?? 0) + Math.abs(summand);
    }
  }
  const roundings = inner + addends.length + made + EXTRA_ROUNDINGS;
  return result.findIndex((value, column) => {
    const allowed = roundings * (unit * (scales[column] ?? 0) + tiny);
    return !(Math.abs(value - (sums[column] ?? 0)) <= allowed);
  });
}
