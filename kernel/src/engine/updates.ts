/** @file Optimizer rules over blocks of shared memory: scalars in float64, loops in WebAssembly. Runs on any thread. */
import type { UpdateRule } from '@ravenlab/protocol';
import type { Kernels } from './wasm/kernels.js';
import type { SharedMemory } from './wasm/memory.js';

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

export interface ClipJob {
  readonly kind: 'norm' | 'value';
  readonly max: number;
}

/** All updates of one execution. */
export interface UpdateBatch {
  readonly clips: readonly ClipJob[];
  readonly updates: readonly UpdateJob[];
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
  kernels: Kernels,
  memory: SharedMemory,
  batch: UpdateBatch,
  share: Share = WHOLE,
): number {
  for (const job of batch.updates) {
    if (job.isFloat && kernels.allFinite(job.value, job.elements) === 0) return job.output;
  }
  const clips = batch.clips.map((clip, index) => clipFactors(kernels, batch, clip, index));
  for (const job of batch.updates) {
    const part = partOf(job, share);
    applyOne(kernels, memory, part, clips[job.clip] ?? { factor: 1, limit: Infinity });
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
  kernels: Kernels,
  batch: UpdateBatch,
  clip: ClipJob,
  index: number,
): ClipFactors {
  if (clip.kind === 'value') return { factor: 1, limit: clip.max };
  let squares = 0;
  for (const job of batch.updates) {
    if (job.clip === index) squares += kernels.sumSquares(job.value, job.elements);
  }
  return { factor: Math.min(1, clip.max / (Math.sqrt(squares) + 1e-6)), limit: Infinity };
}

function applyOne(kernels: Kernels, memory: SharedMemory, job: UpdateJob, clip: ClipFactors): void {
  const { rule, dst, state, value, elements } = job;
  switch (rule.name) {
    case 'assign':
      new Uint8Array(memory.buffer, dst, job.sizeBytes).set(
        new Uint8Array(memory.buffer, value, job.sizeBytes),
      );
      return;
    case 'ema':
      kernels.ema(dst, state, value, elements, 1 - rule.momentum, rule.momentum);
      return;
    case 'sgd':
      applySgd(kernels, job, rule, clip);
      return;
    case 'adam':
    case 'adamw':
      applyAdam(kernels, job, rule, clip);
      return;
  }
}

type RuleOf<Name extends UpdateRule['name']> = Extract<UpdateRule, { readonly name: Name }>;

function applySgd(kernels: Kernels, job: UpdateJob, rule: RuleOf<'sgd'>, clip: ClipFactors): void {
  const { dst, state, value, elements, slots, stepsDone } = job;
  const { learningRate, momentum, dampening, weightDecay, nesterov } = rule;
  const { factor, limit } = clip;
  const buf = slots[0];
  if (buf === undefined) {
    kernels.sgd(dst, state, value, elements, factor, limit, learningRate, weightDecay);
    return;
  }
  const fresh = 1 - dampening;
  const isFirst = stepsDone === 0 ? 1 : 0;
  const isNesterov = nesterov ? 1 : 0;
  // prettier-ignore
  kernels.sgdMomentum(
    dst, state, value, buf, elements, factor, limit,
    learningRate, momentum, fresh, weightDecay, isNesterov, isFirst,
  );
}

function applyAdam(
  kernels: Kernels,
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
  kernels.adam(
    dst, state, value, m, v, elements, factor, limit,
    rate, beta1, 1 - beta1, beta2, 1 - beta2, scaleV, epsilon, decay, shrink,
  );
}
