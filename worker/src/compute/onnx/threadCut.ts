/**
 * @file How many threads may share a product, a sum or a logarithm without a change of its bits. Not a performance model.
 *
 * ONNX Runtime's single-precision kernel cuts the longer side of the result among its threads. Rows are sums of their own.
 * But it adds up `depth` terms in blocks, and the narrower a thread's columns, the longer its blocks: 128 terms above 64
 * columns, 256 above 32, 512 above 16. A lone row has a kernel of its own. So 128 × 784 times 784 × 256 has the same bits on
 * one to three threads, and other ones on four. Measured on 1.30; test/conformance/promises.test.ts holds it to that.
 */

/**
 * Elements of a logarithm that ONNX Runtime gives to one thread, whole vectors of them. Of more, every thread gets a part of any
 * length, and what is left over behind a part's last vector takes a scalar path with other bits.
 */
export const LOG_ELEMENTS = 8_192;
/** A logarithm of so many pieces has no model of its own any more; then one thread makes everything. */
export const LOG_PIECES = 256;

/** Depth up to which there is one block, whatever the width. */
const BLOCK_DEPTH = 128;
/** Columns above which blocks are as short as they get. */
const WIDE_COLUMNS = 64;
/** The cut between columns is at a multiple of this. */
const CUT_COLUMNS = 16;
/** Multiplications that a thread gets at least. */
const THREAD_PRODUCTS = 65_536;
/** No machine of ours has more. */
const THREADS_MAX = 256;
/** A wide result below this is made as its transpose: above, at least four threads may share it as it is. */
const SWAP_COLUMNS = 320;

export interface Product {
  readonly rows: number;
  readonly depth: number;
  readonly columns: number;
}

/** Threads that the kernel would use for it, given enough of them. */
function threadsAsked({ rows, depth, columns }: Product): number {
  return Math.min(THREADS_MAX, Math.floor((rows * depth * columns) / THREAD_PRODUCTS) + 1);
}

/**
 * Whether to make a product as its transpose, which the kernel cuts by rows. Decided by shape alone, since it changes bits
 * itself.
 */
export function isBetterSwapped(product: Product): boolean {
  const { rows, depth, columns } = product;
  const isWide = columns > rows && columns < SWAP_COLUMNS;
  return isWide && rows > 1 && depth > BLOCK_DEPTH && threadsAsked(product) > 1;
}

/** The most threads that give the bits of one, and so does any number below; infinite when all do. */
export function safeThreads(product: Product): number {
  const asked = threadsAsked(product);
  for (let threads = 2; threads <= asked; threads++) {
    if (!isSafe(product, threads)) return threads - 1;
  }
  return Infinity;
}

function isSafe({ rows, depth, columns }: Product, threads: number): boolean {
  if (columns > rows) {
    if (depth <= BLOCK_DEPTH) return true;
    const cuts = Math.ceil(columns / CUT_COLUMNS);
    // The last one has what is left of its last cut.
    const narrowest = (Math.floor(cuts / Math.min(threads, cuts)) - 1) * CUT_COLUMNS + 1;
    return narrowest > WIDE_COLUMNS;
  }
  return columns > 1 && Math.floor(rows / threads) > 1;
}

/** The same for the product inside a convolution of one image in one group; several are shared whole among threads. */
export function safeConvThreads({ rows, depth, columns }: Product): number {
  if (depth <= BLOCK_DEPTH || threadsAsked({ rows, depth, columns }) === 1) return Infinity;
  return Math.max(1, Math.floor(columns / (WIDE_COLUMNS + CUT_COLUMNS)));
}

/**
 * Threads that may share sums over `axes` of `shape`. Where the kept extents lie outside and inside of the summed ones, or
 * between them, ONNX Runtime has a quick kernel that it takes only if each thread gets a slice; another one adds in another
 * order.
 */
export function safeSumThreads(shape: readonly number[], axes: readonly number[]): number {
  const runs: { readonly isSummed: boolean; extent: number }[] = [];
  for (const [axis, extent] of shape.entries()) {
    const isSummed = axes.includes(axis);
    const last = runs.at(-1);
    if (extent === 1) continue;
    if (last?.isSummed === isSummed) last.extent *= extent;
    else runs.push({ isSummed, extent });
  }
  if (runs.length !== 3) return Infinity;
  return (runs[0]?.isSummed === true ? runs[1]?.extent : runs[0]?.extent) ?? Infinity;
}
