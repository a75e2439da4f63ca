/** @file The optimizer rules in plain float64 TypeScript, with the formulas of PyTorch; used by the oracle session. */
import type {
  ExecutionPlan,
  GradientClip,
  LossScale,
  StateUpdate,
  TensorData,
  UpdateRule,
} from '@ravenlab/protocol';
import { NumericError, nextLossScale, readLossScale } from '@ravenlab/protocol';

/** Slots by `optimizerId:stateId`. Momentum: [v]. Adam: [m, v, t]. */
export type Slots = Map<string, Float32Array[]>;

export interface StateAccess {
  read(stateId: number): TensorData;
  write(stateId: number, data: TensorData): void;
}

export function applyUpdates(
  plan: ExecutionPlan,
  outputs: readonly TensorData[],
  slots: Slots,
  states: StateAccess,
): void {
  const scaling = plan.updates.find(({ rule }) => rule.name === 'lossScale');
  const isSkipped = scaling !== undefined && (outputs[scaling.output]?.[0] ?? 0) > 0;
  for (const update of plan.updates) {
    if (isSkipped && update.optimizerId > 0) continue;
    const clip = plan.clips.find((candidate) => candidate.optimizerId === update.optimizerId);
    const scale = clip?.kind === 'norm' ? normScale(plan, outputs, clip) : 1;
    const limit = clip?.kind === 'value' ? clip.max : Infinity;
    const gradient = Float64Array.from(outputs[update.output] ?? [], (value) =>
      Math.max(-limit, Math.min(limit, value * scale)),
    );
    const key = `${String(update.optimizerId)}:${String(update.stateId)}`;
    const state = states.read(update.stateId);
    const own = slots.get(key) ?? [];
    states.write(update.stateId, apply(update, state, gradient, own));
    if (own.length > 0) slots.set(key, own);
  }
}

/** torch.nn.utils.clip_grad_norm_: max / (norm + 1e-6), at most 1. */
function normScale(
  plan: ExecutionPlan,
  outputs: readonly TensorData[],
  clip: GradientClip,
): number {
  let squares = 0;
  for (const update of plan.updates) {
    if (update.optimizerId !== clip.optimizerId) continue;
    for (const value of outputs[update.output] ?? []) squares += value * value;
  }
  return Math.min(1, clip.max / (Math.sqrt(squares) + 1e-6));
}

function apply(
  { rule }: StateUpdate,
  state: TensorData,
  g: Float64Array,
  slots: Float32Array[],
): TensorData {
  switch (rule.name) {
    case 'sgd':
      return sgd(rule, state, g, slots);
    case 'adam':
    case 'adamw':
      return adam(rule, state, g, slots);
    case 'ema':
      return state.map((value, i) => (1 - rule.momentum) * value + rule.momentum * (g[i] ?? 0));
    case 'assign':
      return state.map((_, i) => g[i] ?? 0);
    case 'lossScale':
      return Float32Array.from(scaleAfter(state, (g[0] ?? 0) > 0));
  }
}

/** @throws NumericError when the smallest scale overflows too. */
function scaleAfter(state: TensorData, overflowed: boolean): LossScale {
  const scale = readLossScale(state);
  const next = scale === null ? null : nextLossScale(scale, overflowed);
  if (next === null) throw new NumericError('a gradient is NaN or infinite at the smallest scale');
  return next;
}

function sgd(
  rule: Extract<UpdateRule, { name: 'sgd' }>,
  state: TensorData,
  g: Float64Array,
  slots: Float32Array[],
): TensorData {
  const isFirst = slots.length === 0;
  const velocity = slots[0] ?? new Float32Array(state.length);
  if (rule.momentum !== 0) slots[0] = velocity;
  return state.map((value, i) => {
    let step = (g[i] ?? 0) + rule.weightDecay * value;
    if (rule.momentum !== 0) {
      const v = isFirst ? step : rule.momentum * (velocity[i] ?? 0) + (1 - rule.dampening) * step;
      velocity[i] = v;
      step = rule.nesterov ? step + rule.momentum * v : v;
    }
    return value - rule.learningRate * step;
  });
}

function adam(
  rule: Extract<UpdateRule, { name: 'adam' | 'adamw' }>,
  state: TensorData,
  g: Float64Array,
  slots: Float32Array[],
): TensorData {
  const m = slots[0] ?? new Float32Array(state.length);
  const v = slots[1] ?? new Float32Array(state.length);
  const steps = (slots[2]?.[0] ?? 0) + 1;
  slots.splice(0, slots.length, m, v, Float32Array.of(steps));
  const first = 1 - rule.beta1 ** steps;
  const second = 1 - rule.beta2 ** steps;
  return state.map((value, i) => {
    const decay = rule.weightDecay * value;
    const gradient = (g[i] ?? 0) + (rule.name === 'adam' ? decay : 0);
    const decayed = rule.name === 'adamw' ? value - rule.learningRate * decay : value;
    m[i] = rule.beta1 * (m[i] ?? 0) + (1 - rule.beta1) * gradient;
    v[i] = rule.beta2 * (v[i] ?? 0) + (1 - rule.beta2) * gradient * gradient;
    const denominator = Math.sqrt((v[i] ?? 0) / second) + rule.epsilon;
    return decayed - (rule.learningRate * ((m[i] ?? 0) / first)) / denominator;
  });
}
