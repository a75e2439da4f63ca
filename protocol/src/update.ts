/**
 * @file Optimizer rules over blocks of memory: scalars in float64, loops in WebAssembly. The engine and a worker that has the
 * whole sum of a step both do this, to the same bits; the loops are kernel/src/engine/wasm/assembly for both.
 */
import type { NarrowFormat } from './narrow.js';

/** Update rules that are applied to states; m, v and momentum slots are beside them. */
export type UpdateRule =
  | {
      readonly name: 'sgd';
      readonly learningRate: number;
      readonly momentum: number;
      readonly dampening: number;
      readonly nesterov: boolean;
      readonly weightDecay: number;
    }
  | {
      /** `adam` adds weight decay to the gradient, `adamw` decays the weight itself (decoupled). */
      readonly name: 'adam' | 'adamw';
      readonly learningRate: number;
      readonly beta1: number;
      readonly beta2: number;
      readonly epsilon: number;
      readonly weightDecay: number;
    }
  /** state ← (1 - momentum) · state + momentum · value: running statistics. */
  | { readonly name: 'ema'; readonly momentum: number }
  /** state ← value. */
  | { readonly name: 'assign' };

/** Exports of the compiled loops; pointers are byte addresses of 16-byte aligned arrays, `n` counts elements. */
export interface UpdateLoops {
  /** 1 when no sum is NaN or infinite. */
  addF32(dst: number, src: number, n: number): number;
  addI32(dst: number, src: number, n: number): void;
  /** 1 when no element is NaN or infinite. */
  allFinite(ptr: number, n: number): number;
  sumSquares(ptr: number, n: number): number;
  roundBfloat16(ptr: number, n: number): void;
  roundFloat16(ptr: number, n: number): void;
  roundInt8(ptr: number, n: number): void;
  ema(dst: number, state: number, value: number, n: number, keep: number, momentum: number): void;
  sgd(
    dst: number,
    w: number,
    g: number,
    n: number,
    gradScale: number,
    limit: number,
    lr: number,
    decay: number,
  ): void;
  sgdMomentum(
    dst: number,
    w: number,
    g: number,
    buf: number,
    n: number,
    gradScale: number,
    limit: number,
    lr: number,
    momentum: number,
    fresh: number,
    decay: number,
    nesterov: number,
    first: number,
  ): void;
  adam(
    dst: number,
    w: number,
    g: number,
    m: number,
    v: number,
    n: number,
    gradScale: number,
    limit: number,
    lr: number,
    beta1: number,
    gain1: number,
    beta2: number,
    gain2: number,
    scaleV: number,
    epsilon: number,
    decay: number,
    shrink: number,
  ): void;
}

/** The loop that rounds to what a format holds; to the bits of NARROW[format].round. */
export const ROUND_LOOPS = {
  bfloat16: 'roundBfloat16',
  float16: 'roundFloat16',
  int8: 'roundInt8',
} as const satisfies Record<NarrowFormat, keyof UpdateLoops>;

/** Where the blocks of a batch are. */
export interface UpdateMemory {
  readonly buffer: ArrayBufferLike;
}

/** One state's update, as addresses. The engine has checked shapes and dtypes before. */
export interface UpdateJob {
  readonly rule: UpdateRule;
  /** Updates that these slots have seen before this one. */
  readonly stepsDone: number;
  /** The new version. */
  readonly dst: number;
  /** The version that it replaces. */
  readonly state: number;
  /** Gradient or value. */
  readonly value: number;
  readonly slots: readonly number[];
  readonly elements: number;
  /** Whether the elements are float32: only then can they be checked for NaN and clipped. */
  readonly isFloat: boolean;
  readonly sizeBytes: number;
  /** Index into `clips` of its batch, -1 without. */
  readonly clip: number;
  /** Output of the plan that `value` is; for errors. */
  readonly output: number;
}

export interface ClipRule {
  readonly kind: 'norm' | 'value';
  readonly max: number;
}

/** All updates of one execution. */
export interface UpdateBatch {
  readonly clips: readonly ClipRule[];
  readonly updates: readonly UpdateJob[];
  /** Whether all values are known to be finite. */
  readonly isFinite?: boolean;
}

/** Which part of every update one of several threads applies. */
export interface Share {
  readonly index: number;
  readonly of: number;
}

const WHOLE: Share = { index: 0, of: 1 };
/** Elements of a vector; shares are cut between vectors, so that their bits are those of the whole. */
const LANES = 4;

/** Slots of a rule: how many arrays of the state's size it keeps. */
export function slotCount(rule: UpdateRule): number {
  switch (rule.name) {
    case 'sgd':
      return rule.momentum === 0 ? 0 : 1;
    case 'adam':
    case 'adamw':
      return 2;
    case 'ema':
    case 'assign':
      return 0;
  }
}

/** base^exponent by squaring: the same bits on every machine, which Math.pow does not promise. */
export function power(base: number, exponent: number): number {
  let result = 1;
  let factor = base;
  for (let left = exponent; left > 0; left = Math.trunc(left / 2)) {
    if (left % 2 === 1) result *= factor;
    factor *= factor;
  }
  return result;
}

/**
 * Applies a batch, or a share of it, unless a value is NaN or infinite: then nothing is written. Every share looks at all
 * values before it writes, and no share writes what another reads, so they need not wait for each other.
 * @returns the output that is not finite, or -1 when the batch was applied; every share says the same.
 */
export function applyUpdates(
  loops: UpdateLoops,
  memory: UpdateMemory,
  batch: UpdateBatch,
  share: Share = WHOLE,
): number {
  for (const job of batch.isFinite === true ? [] : batch.updates) {
    if (job.isFloat && loops.allFinite(job.value, job.elements) === 0) return job.output;
  }
  const clips = batch.clips.map((clip, index) => clipFactors(loops, batch, clip, index));
  for (const job of batch.updates) {
    const part = partOf(job, share);
    applyOne(loops, memory, part, clips[job.clip] ?? { factor: 1, limit: Infinity });
  }
  return -1;
}

function partOf(job: UpdateJob, { index, of }: Share): UpdateJob {
  if (of === 1) return job;
  const vectors = Math.ceil(job.elements / LANES);
  const bound = (share: number): number =>
    Math.min(job.elements, Math.floor((vectors * share) / of) * LANES);
  const from = bound(index);
  const elements = bound(index + 1) - from;
  const elementBytes = job.elements === 0 ? 0 : job.sizeBytes / job.elements;
  const skip = from * elementBytes;
  return {
    ...job,
    dst: job.dst + skip,
    state: job.state + skip,
    value: job.value + skip,
    slots: job.slots.map((slot) => slot + skip),
    elements,
    sizeBytes: elements * elementBytes,
  };
}

interface ClipFactors {
  readonly factor: number;
  readonly limit: number;
}

/** PyTorch's clip_grad_norm_: factor = min(1, max / (‖g‖ + 1e-6)) with the norm over all gradients of the optimizer. */
function clipFactors(
  loops: UpdateLoops,
  batch: UpdateBatch,
  clip: ClipRule,
  index: number,
): ClipFactors {
  if (clip.kind === 'value') return { factor: 1, limit: clip.max };
  let squares = 0;
  for (const job of batch.updates) {
    if (job.clip === index) squares += loops.sumSquares(job.value, job.elements);
  }
  return { factor: Math.min(1, clip.max / (Math.sqrt(squares) + 1e-6)), limit: Infinity };
}

function applyOne(
  loops: UpdateLoops,
  memory: UpdateMemory,
  job: UpdateJob,
  clip: ClipFactors,
): void {
  const { rule, dst, state, value, elements } = job;
  switch (rule.name) {
    case 'assign':
      new Uint8Array(memory.buffer, dst, job.sizeBytes).set(
        new Uint8Array(memory.buffer, value, job.sizeBytes),
      );
      return;
    case 'ema':
      loops.ema(dst, state, value, elements, 1 - rule.momentum, rule.momentum);
      return;
    case 'sgd':
      applySgd(loops, job, rule, clip);
      return;
    case 'adam':
    case 'adamw':
      applyAdam(loops, job, rule, clip);
      return;
  }
}

type RuleOf<Name extends UpdateRule['name']> = Extract<UpdateRule, { readonly name: Name }>;

function applySgd(
  loops: UpdateLoops,
  job: UpdateJob,
  rule: RuleOf<'sgd'>,
  clip: ClipFactors,
): void {
  const { dst, state, value, elements, slots, stepsDone } = job;
  const { learningRate, momentum, dampening, weightDecay, nesterov } = rule;
  const { factor, limit } = clip;
  const buf = slots[0];
  if (buf === undefined) {
    loops.sgd(dst, state, value, elements, factor, limit, learningRate, weightDecay);
    return;
  }
  const fresh = 1 - dampening;
  const isFirst = stepsDone === 0 ? 1 : 0;
  const isNesterov = nesterov ? 1 : 0;
  // prettier-ignore
  loops.sgdMomentum(
    dst, state, value, buf, elements, factor, limit,
    learningRate, momentum, fresh, weightDecay, isNesterov, isFirst,
  );
}

function applyAdam(
  loops: UpdateLoops,
  job: UpdateJob,
  rule: RuleOf<'adam' | 'adamw'>,
  clip: ClipFactors,
): void {
  const { dst, state, value, elements, slots, stepsDone } = job;
  const { learningRate, beta1, beta2, epsilon, weightDecay } = rule;
  const [m, v] = slots;
  if (m === undefined || v === undefined) throw new RangeError('adam needs two slots');
  const { factor, limit } = clip;
  const step = stepsDone + 1;
  const rate = learningRate / (1 - power(beta1, step));
  const scaleV = 1 / Math.sqrt(1 - power(beta2, step));
  const isDecoupled = rule.name === 'adamw';
  const decay = isDecoupled ? 0 : weightDecay;
  const shrink = isDecoupled ? 1 - learningRate * weightDecay : 1;
  // prettier-ignore
  loops.adam(
    dst, state, value, m, v, elements, factor, limit,
    rate, beta1, 1 - beta1, beta2, 1 - beta2, scaleV, epsilon, decay, shrink,
  );
}
