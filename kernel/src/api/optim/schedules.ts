/** @file Learning-rate schedules: functions of the number of `step()` calls, with the formulas of PyTorch. */
import { ShapeError } from '@ravenlab/protocol';
import { currentRuntime } from '../runtime.js';
import type { Optimizer } from './optimizer.js';

/** Sets every group's learning rate to its initial one times `factor(step)`. Call `step()` after the optimizer's. */
export class Schedule {
  readonly optimizer: Optimizer;
  private readonly factor: (step: number) => number;
  private count = 0;

  constructor(optimizer: Optimizer, factor: (step: number) => number) {
    this.optimizer = optimizer;
    this.factor = factor;
    optimizer.schedule = this;
    this.apply();
  }

  step(): void {
    this.count++;
    this.optimizer.schedule = this;
    this.apply();
    currentRuntime().loop.scheduled(this.optimizer);
  }

  /** As after `steps` steps, but for the learning rates. */
  goTo(steps: number): void {
    this.count = steps;
  }

  /** Learning rates of the groups after `steps` steps. @throws ShapeError when the factor is not finite. */
  ratesAt(steps: number): number[] {
    const factor = this.factor(steps);
    if (!Number.isFinite(factor)) {
      throw new ShapeError(`schedule: the factor of step ${String(steps)} is ${String(factor)}`);
    }
    return this.optimizer.groups.map(({ initialLr }) => initialLr * factor);
  }

  /** Steps done. */
  get steps(): number {
    return this.count;
  }

  private apply(): void {
    const rates = this.ratesAt(this.count);
    this.optimizer.groups.forEach((group, index) => (group.lr = rates[index] ?? group.lr));
  }
}

function requirePositive(name: string, value: number): void {
  if (!Number.isInteger(value) || value < 1) {
    throw new ShapeError(`schedule: ${name} must be a positive integer, got ${String(value)}`);
  }
}

/** Factor is any function of the step, counted from 0. */
export function lambdaLR(optimizer: Optimizer, factor: (step: number) => number): Schedule {
  return new Schedule(optimizer, factor);
}

/** Times `gamma` every `stepSize` steps. */
export function stepLR(
  optimizer: Optimizer,
  options: { readonly stepSize: number; readonly gamma?: number },
): Schedule {
  requirePositive('stepSize', options.stepSize);
  const gamma = options.gamma ?? 0.1;
  return new Schedule(optimizer, (step) => gamma ** Math.floor(step / options.stepSize));
}

/** Half a cosine from the initial rate to `minFactor` of it over `steps`, then constant. */
export function cosineAnnealing(
  optimizer: Optimizer,
  options: { readonly steps: number; readonly minFactor?: number },
): Schedule {
  requirePositive('steps', options.steps);
  const min = options.minFactor ?? 0;
  return new Schedule(optimizer, (step) => cosine(step / options.steps, 1, min));
}

function cosine(progress: number, from: number, to: number): number {
  const bounded = Math.min(1, Math.max(0, progress));
  return to + ((from - to) * (1 + Math.cos(Math.PI * bounded))) / 2;
}

/** Linear from 1 / `steps` to 1 in `steps` steps, then constant, or `after(step)` with step counted from the end of it. */
export function warmup(
  optimizer: Optimizer,
  options: { readonly steps: number; readonly after?: (step: number) => number },
): Schedule {
  requirePositive('steps', options.steps);
  const after = options.after ?? ((): number => 1);
  return new Schedule(optimizer, (step) =>
    step < options.steps ? (step + 1) / options.steps : after(step - options.steps),
  );
}

/**
 * Cosine up to `maxLr` over the first `pctStart` of `steps`, cosine down to almost nothing over the rest (Smith, 2018),
 * with the defaults of torch.optim.lr_scheduler.OneCycleLR.
 */
export function oneCycle(
  optimizer: Optimizer,
  options: {
    readonly maxLr: number;
    readonly steps: number;
    readonly pctStart?: number;
    readonly divFactor?: number;
    readonly finalDivFactor?: number;
  },
): Schedule {
  requirePositive('steps', options.steps);
  const { maxLr, steps, pctStart = 0.3, divFactor = 25, finalDivFactor = 1e4 } = options;
  const initial = maxLr / divFactor;
  const final = initial / finalDivFactor;
  const peak = Math.max(0, pctStart * steps - 1);
  const rateAt = (step: number): number =>
    step < peak
      ? cosine(step / peak, initial, maxLr)
      : cosine((step - peak) / (steps - 1 - peak), maxLr, final);
  // One absolute rate for every group: the factor undoes the initial rate it will be multiplied by.
  return new Schedule(optimizer, (step) => rateAt(step) / (optimizer.groups[0]?.initialLr ?? 1));
}
