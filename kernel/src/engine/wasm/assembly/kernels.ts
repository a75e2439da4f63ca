/**
 * @file Reduction and optimizer loops over the engine's shared memory, in AssemblyScript with SIMD; not seen by tsc.
 *
 * Every loop is element-wise with a fixed order of IEEE operations, or (sumSquares) sums in fixed lanes, so the
 * bits do not depend on the thread, the worker or the arrival order. No relaxed SIMD, no allocation, no imports but
 * the memory. Pointers are byte addresses of 16-byte aligned blocks whose capacity is a multiple of 16 bytes, so a
 * vector loop may run over the padding: padding is zero on allocation and only ever combined with padding.
 * NaN payload bits are unspecified in WebAssembly; results with a NaN are refused before they can be stored.
 */

/** Bytes of `n` 4-byte elements, rounded up to whole vectors. */
// @ts-ignore: decorator
@inline
function spanOf(n: u32): usize {
  return ((n as usize) * 4 + 15) & ~(15 as usize);
}

/** Lanes of all ones where x is neither NaN nor infinite: |x| ≤ FLT_MAX is false for both. */
// @ts-ignore: decorator
@inline
function finiteLanes(x: v128): v128 {
  return f32x4.le(f32x4.abs(x), f32x4.splat(f32.MAX_VALUE));
}

/** dst ← dst + src, float32; 1 when no sum is NaN or infinite: to look while they are in a register costs nothing. */
export function addF32(dst: usize, src: usize, n: u32): i32 {
  const end = dst + spanOf(n);
  let good = i32x4.splat(-1);
  for (; dst < end; dst += 16, src += 16) {
    const sum = f32x4.add(v128.load(dst), v128.load(src));
    good = v128.and(good, finiteLanes(sum));
    v128.store(dst, sum);
  }
  return i32x4.all_true(good) ? 1 : 0;
}

/** dst ← dst + src, int32, wrapping. */
export function addI32(dst: usize, src: usize, n: u32): void {
  const end = dst + spanOf(n);
  for (; dst < end; dst += 16, src += 16) {
    v128.store(dst, i32x4.add(v128.load(dst), v128.load(src)));
  }
}

/** 1 when no element is NaN or infinite. */
export function allFinite(ptr: usize, n: u32): i32 {
  const end = ptr + spanOf(n);
  let good = i32x4.splat(-1);
  for (; ptr < end; ptr += 16) good = v128.and(good, finiteLanes(v128.load(ptr)));
  return i32x4.all_true(good) ? 1 : 0;
}

/** Sum of squares in float64: even and odd element pairs in two fixed accumulators, added at the end. */
export function sumSquares(ptr: usize, n: u32): f64 {
  const end = ptr + spanOf(n);
  let low = f64x2.splat(0);
  let high = f64x2.splat(0);
  for (; ptr < end; ptr += 16) {
    const x = v128.load(ptr);
    const a = f64x2.promote_low_f32x4(x);
    const b = f64x2.promote_low_f32x4(v128.shuffle<u8>(x, x, 8, 9, 10, 11, 12, 13, 14, 15, 0, 1, 2, 3, 4, 5, 6, 7));
    low = f64x2.add(low, f64x2.mul(a, a));
    high = f64x2.add(high, f64x2.mul(b, b));
  }
  const sum = f64x2.add(low, high);
  return f64x2.extract_lane(sum, 0) + f64x2.extract_lane(sum, 1);
}

/**
 * min(max(g · factor, -limit), limit): the clipped gradient; a limit of ∞ and a factor of 1 leave it as it is. The p-forms are one
 * instruction each; they keep a NaN that is their first operand, and for everything else give the bits of min and max here.
 */
// @ts-ignore: decorator
@inline
function clipped(g: v128, factor: v128, low: v128, high: v128): v128 {
  return f32x4.pmin(f32x4.pmax(f32x4.mul(g, factor), low), high);
}

/** dst ← keep · state + momentum · value. */
export function ema(dst: usize, state: usize, value: usize, n: u32, keep: f32, momentum: f32): void {
  const end = dst + spanOf(n);
  const a = f32x4.splat(keep);
  const b = f32x4.splat(momentum);
  for (; dst < end; dst += 16, state += 16, value += 16) {
    v128.store(dst, f32x4.add(f32x4.mul(a, v128.load(state)), f32x4.mul(b, v128.load(value))));
  }
}

/** dst ← w - lr · (clip(g) + decay · w). */
export function sgd(
  dst: usize, w: usize, g: usize, n: u32, gradScale: f32, limit: f32, lr: f32, decay: f32,
): void {
  const end = dst + spanOf(n);
  const rate = f32x4.splat(lr);
  const lambda = f32x4.splat(decay);
  const factor = f32x4.splat(gradScale);
  const low = f32x4.splat(-limit);
  const high = f32x4.splat(limit);
  for (; dst < end; dst += 16, w += 16, g += 16) {
    const x = v128.load(w);
    const d = f32x4.add(clipped(v128.load(g), factor, low, high), f32x4.mul(lambda, x));
    v128.store(dst, f32x4.sub(x, f32x4.mul(rate, d)));
  }
}

/**
 * d = clip(g) + decay · w; buf ← momentum · buf + fresh · d; step = nesterov ? d + momentum · buf : buf; dst ← w - lr · step.
 * The first step passes momentum 0 and fresh 1 through `first`, as PyTorch does: buf ← d.
 */
export function sgdMomentum(
  dst: usize, w: usize, g: usize, buf: usize, n: u32, gradScale: f32, limit: f32,
  lr: f32, momentum: f32, fresh: f32, decay: f32, nesterov: i32, first: i32,
): void {
  const end = dst + spanOf(n);
  const rate = f32x4.splat(lr);
  const mu = f32x4.splat(momentum);
  const gain = f32x4.splat(fresh);
  const lambda = f32x4.splat(decay);
  const factor = f32x4.splat(gradScale);
  const low = f32x4.splat(-limit);
  const high = f32x4.splat(limit);
  for (; dst < end; dst += 16, w += 16, g += 16, buf += 16) {
    const x = v128.load(w);
    const d = f32x4.add(clipped(v128.load(g), factor, low, high), f32x4.mul(lambda, x));
    const b = first ? d : f32x4.add(f32x4.mul(mu, v128.load(buf)), f32x4.mul(gain, d));
    v128.store(buf, b);
    const step = nesterov ? f32x4.add(d, f32x4.mul(mu, b)) : b;
    v128.store(dst, f32x4.sub(x, f32x4.mul(rate, step)));
  }
}

/** What Adam does with four gradients `d` of the weights `x`; returns how far they move, before the rate. */
// @ts-ignore: decorator
@inline
function adamVector(
  d: v128, m: usize, v: usize, b1: v128, g1: v128, b2: v128, g2: v128, toV: v128, eps: v128,
): v128 {
  const m1 = f32x4.add(f32x4.mul(b1, v128.load(m)), f32x4.mul(g1, d));
  const v1 = f32x4.add(f32x4.mul(b2, v128.load(v)), f32x4.mul(g2, f32x4.mul(d, d)));
  v128.store(m, m1);
  v128.store(v, v1);
  return f32x4.div(m1, f32x4.add(f32x4.mul(f32x4.sqrt(v1), toV), eps));
}

/**
 * d = clip(g) + decay · w; m ← beta1 · m + gain1 · d; v ← beta2 · v + gain2 · d²;
 * dst ← shrink · w - lr · m / (√v · scale + epsilon). `lr` holds the first bias correction, `scale` the second;
 * adam: shrink 1; adamw: decay 0, shrink 1 - learningRate · weightDecay.
 */
export function adam(
  dst: usize, w: usize, g: usize, m: usize, v: usize, n: u32, gradScale: f32, limit: f32,
  lr: f32, beta1: f32, gain1: f32, beta2: f32, gain2: f32, scaleV: f32, epsilon: f32, decay: f32, shrink: f32,
): void {
  const end = dst + spanOf(n);
  const rate = f32x4.splat(lr);
  const b1 = f32x4.splat(beta1);
  const g1 = f32x4.splat(gain1);
  const b2 = f32x4.splat(beta2);
  const g2 = f32x4.splat(gain2);
  const toV = f32x4.splat(scaleV);
  const eps = f32x4.splat(epsilon);
  const keep = f32x4.splat(shrink);
  // Mostly there is nothing to clip and d is g. All constants then fit the registers, which halves the time.
  if (gradScale == 1 && limit == Infinity && decay == 0) {
    for (; dst < end; dst += 16, w += 16, g += 16, m += 16, v += 16) {
      const move = adamVector(v128.load(g), m, v, b1, g1, b2, g2, toV, eps);
      v128.store(dst, f32x4.sub(f32x4.mul(keep, v128.load(w)), f32x4.mul(rate, move)));
    }
    return;
  }
  const lambda = f32x4.splat(decay);
  const factor = f32x4.splat(gradScale);
  const low = f32x4.splat(-limit);
  const high = f32x4.splat(limit);
  for (; dst < end; dst += 16, w += 16, g += 16, m += 16, v += 16) {
    const x = v128.load(w);
    const d = f32x4.add(clipped(v128.load(g), factor, low, high), f32x4.mul(lambda, x));
    const move = adamVector(d, m, v, b1, g1, b2, g2, toV, eps);
    v128.store(dst, f32x4.sub(f32x4.mul(keep, x), f32x4.mul(rate, move)));
  }
}

// ── values rounded to what a narrow format holds: the loops of protocol/src/narrow.ts, to the same bits ────────────

/** Each float32 to the nearest bfloat16, ties to even. */
export function roundBfloat16(ptr: usize, n: u32): void {
  const end = ptr + spanOf(n);
  const infinity = i32x4.splat(0x7f800000);
  const upper = i32x4.splat(0xffff0000);
  for (; ptr < end; ptr += 16) {
    const x = v128.load(ptr);
    const odd = v128.and(i32x4.shr_u(x, 16), i32x4.splat(1));
    const rounded = i32x4.add(i32x4.add(x, i32x4.splat(0x7fff)), odd);
    const isNan = i32x4.gt_s(v128.and(x, i32x4.splat(0x7fffffff)), infinity);
    const nan = v128.or(x, i32x4.splat(0x400000));
    v128.store(ptr, v128.and(v128.bitselect(nan, rounded, isNan), upper));
  }
}

/** Each float32 to the nearest float16, ties to even: from 65520 on infinity, below 2^-14 multiples of 2^-24. */
export function roundFloat16(ptr: usize, n: u32): void {
  const end = ptr + spanOf(n);
  const infinity = i32x4.splat(0x7f800000);
  for (; ptr < end; ptr += 16) {
    const x = v128.load(ptr);
    const size = v128.and(x, i32x4.splat(0x7fffffff));
    const odd = v128.and(i32x4.shr_u(size, 13), i32x4.splat(1));
    const sum = i32x4.add(i32x4.add(size, i32x4.splat(0xfff)), odd);
    const normal = v128.and(sum, i32x4.splat(0xffffe000));
    const steps = f32x4.nearest(f32x4.mul(size, f32x4.splat(16777216)));
    const small = f32x4.mul(steps, f32x4.splat(5.9604644775390625e-8));
    let result = v128.bitselect(small, normal, i32x4.lt_s(size, i32x4.splat(0x38800000)));
    result = v128.bitselect(infinity, result, i32x4.ge_s(size, i32x4.splat(0x477ff000)));
    result = v128.bitselect(i32x4.splat(0x7fc00000), result, i32x4.gt_s(size, infinity));
    v128.store(ptr, v128.or(result, v128.and(x, i32x4.splat(0x80000000))));
  }
}

/** Largest of |x| as bits, over whole vectors: padding is zero. */
// @ts-ignore: decorator
@inline
function largestBits(ptr: usize, end: usize): i32 {
  let most = i32x4.splat(0);
  for (; ptr < end; ptr += 16) {
    most = i32x4.max_s(most, v128.and(v128.load(ptr), i32x4.splat(0x7fffffff)));
  }
  const left = max(i32x4.extract_lane(most, 0), i32x4.extract_lane(most, 1));
  return max(left, max(i32x4.extract_lane(most, 2), i32x4.extract_lane(most, 3)));
}

/** Chunks of 256 to multiples of 2^e, the smallest e ≥ -126 with max |x| ≤ 127 · 2^e; NaN where 127 · 2^121 is not enough. */
export function roundInt8(ptr: usize, n: u32): void {
  const end = ptr + (n as usize) * 4;
  for (; ptr < end; ptr += 1024) {
    const chunkEnd = min(end, ptr + 1024);
    const span = ptr + ((chunkEnd - ptr + 15) & ~(15 as usize));
    const largest = largestBits(ptr, span);
    if (largest > 0x7f7e0000) {
      for (let at = ptr; at < chunkEnd; at += 4) store<u32>(at, 0x7fc00000);
      continue;
    }
    let exponent = (largest >>> 23) - 133;
    if ((largest & 0x7fffff) > 0x7e0000) exponent++;
    exponent = max(exponent, -126);
    const scale = f32x4.splat(reinterpret<f32>((127 + exponent) << 23));
    const inverse = f32x4.splat(reinterpret<f32>((127 - exponent) << 23));
    for (let at = ptr; at < span; at += 16) {
      const steps = f32x4.nearest(f32x4.mul(v128.load(at), inverse));
      // A zero has no sign in eight bits.
      v128.store(at, f32x4.add(f32x4.mul(steps, scale), f32x4.splat(0)));
    }
  }
}
