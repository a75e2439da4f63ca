/** @file The base of all optimizers: parameter groups, one execution a step, and saved state. */
import type { RunId, UpdateRule } from '@ravenlab/protocol';
import { AutogradError, DataError } from '@ravenlab/protocol';
import { Parameter } from '../parameter.js';
import type { OptimizerPlace } from '../resume/bookmark.js';
import { RunOpener } from '../resume/manifest.js';
import { currentRuntime, expectReply } from '../runtime.js';
import type { PendingStep } from '../stepQueue.js';
import type { Tensor } from '../tensor.js';
import { submitStep } from './submitStep.js';

/** What every optimizer lets a group set for itself. */
export interface GroupOptions {
  /** Learning rate. */
  readonly lr?: number;
  readonly weightDecay?: number;
}

export interface ParameterGroup extends GroupOptions {
  readonly params: Iterable<Tensor>;
}

/** Parameters that share settings; `lr` and `weightDecay` may be assigned at any time. */
export interface OptimizerGroup {
  readonly params: readonly Parameter[];
  lr: number;
  weightDecay: number;
  /** Learning rate at the start, which schedules multiply. */
  initialLr: number;
}

/** A schedule as its optimizer knows it. */
interface OptimizerSchedule {
  readonly steps: number;
  ratesAt(steps: number): readonly number[];
  goTo(steps: number): void;
}

/** Slots (momenta) of each parameter, in the order of the parameters. */
export interface OptimizerState {
  readonly lr: readonly number[];
  readonly steps: number;
  readonly slots: readonly (readonly Float32Array[])[];
}

export abstract class Optimizer {
  readonly groups: readonly OptimizerGroup[];
  readonly optimizerId: number;
  /** Steps done or on their way. */
  steps = 0;
  /** The schedule that set the learning rates last. */
  schedule: OptimizerSchedule | null = null;
  private readonly run: RunOpener;

  /**
   * @param params parameters, or groups of them with settings of their own
   * @throws AutogradError when there is none, one is not trainable, or one is in two groups
   */
  constructor(
    params: Iterable<Tensor> | readonly ParameterGroup[],
    defaults: Required<GroupOptions>,
  ) {
    const runtime = currentRuntime();
    this.optimizerId = runtime.newId();
    const runId = `${runtime.session.now().toString(36)}-${String(this.optimizerId)}` as RunId;
    this.groups = groupsOf(params, defaults);
    this.run = new RunOpener(runId, this.optimizerId);
  }

  /** Learning rate of the first group; assigning sets every group. Takes effect at the next step. */
  get lr(): number {
    return this.groups[0]?.lr ?? 0;
  }
  set lr(value: number) {
    for (const group of this.groups) group.lr = value;
  }

  get params(): Parameter[] {
    return this.groups.flatMap((group) => group.params);
  }

  /**
   * One step: computes loss and gradients on the cluster, combines them and updates the weights, as one execution.
   * Unlike PyTorch it also clears the gradients, so `zeroGrad()` is optional. Await it, or read the loss, or do neither.
   * @throws AutogradError when no parameter has a gradient; the error of an earlier step that nobody awaited.
   */
  step(): PendingStep {
    const runtime = currentRuntime();
    const updates = this.groups.flatMap((group) => {
      const rule = this.ruleOf(group);
      return group.params.flatMap((parameter) =>
        parameter.grad === null ? [] : [{ parameter, gradient: parameter.grad.node, rule }],
      );
    });
    if (updates.length === 0) {
      throw new AutogradError(
        'step: no parameter of this optimizer has a gradient; call loss.backward() first, and give the optimizer the ' +
          'parameters of the model that made the loss',
      );
    }
    this.run.open(runtime, this.params);
    const { runId } = this.run;
    const step = submitStep(runtime, {
      optimizerId: this.optimizerId,
      runId,
      stepIndex: this.steps,
      bookmark: () => runtime.loop.stepped(this, runId, this.steps),
      updates,
      onAbandoned: () => {
        this.steps--;
      },
      onAdopted: () => {
        this.steps++;
      },
    });
    this.steps++;
    this.zeroGrad();
    return step;
  }

  /** Steps of the schedule. */
  get scheduled(): number {
    return this.schedule?.steps ?? 0;
  }

  /** Settings and counts after `ahead` more steps of the schedule. */
  place(ahead: number): OptimizerPlace {
    const { schedule } = this;
    const rates = ahead > 0 ? schedule?.ratesAt(schedule.steps + ahead) : undefined;
    return {
      name: this.constructor.name,
      steps: this.steps,
      groups: this.groups.map(({ lr, initialLr, weightDecay }, index) => ({
        ...{ lr: rates?.[index] ?? lr, initialLr, weightDecay },
      })),
      schedule: schedule === null ? null : schedule.steps + ahead,
    };
  }

  /** @throws DataError when the place is that of an optimizer of another kind. */
  checkPlace(place: OptimizerPlace): void {
    const saved = `${place.name} of ${String(place.groups.length)} groups`;
    const own = `${this.constructor.name} of ${String(this.groups.length)} groups`;
    if (saved !== own) {
      throw new DataError(
        `optimizer: the run was trained by ${saved}, this is ${own}; build it as in that run`,
      );
    }
    if ((place.schedule === null) !== (this.schedule === null)) {
      const [had, has] = place.schedule === null ? ['no', 'one'] : ['a', 'none'];
      throw new DataError(
        `optimizer: the run had ${had} learning-rate schedule, this optimizer has ${has}; build the schedule as in that run, before it is resumed`,
      );
    }
  }

  /** Goes to a place that `checkPlace` let pass; slots are not part of it. */
  goTo(place: OptimizerPlace): void {
    this.steps = place.steps;
    if (place.schedule !== null) this.schedule?.goTo(place.schedule);
    this.groups.forEach((group, index) => Object.assign(group, place.groups[index]));
  }

  /** Steps from here on are steps of that run. */
  continueRun(runId: RunId): void {
    this.run.continue(runId);
  }

  /** Forgets the gradients that have accumulated. */
  zeroGrad(): void {
    for (const parameter of this.params) parameter.grad = null;
  }

  /** Momenta and learning rates, to be saved beside the weights. */
  async stateDict(): Promise<OptimizerState> {
    const { session } = currentRuntime();
    const stateIds = this.params.map((parameter) => parameter.record.stateId);
    const reply = await session.request({
      kind: 'readSlots',
      optimizerId: this.optimizerId,
      stateIds,
    });
    return {
      lr: this.groups.map((group) => group.lr),
      steps: this.steps,
      slots: expectReply(reply, 'slots').values,
    };
  }

  /** @throws DataError when the state is of another number of parameters or groups. */
  async loadStateDict(state: OptimizerState): Promise<void> {
    const { params } = this;
    if (state.slots.length !== params.length || state.lr.length !== this.groups.length) {
      throw new DataError(
        `loadStateDict: state of ${String(state.slots.length)} parameters in ${String(state.lr.length)} groups, ` +
          `expected ${String(params.length)} in ${String(this.groups.length)}; build the optimizer as when it was saved`,
      );
    }
    const { session } = currentRuntime();
    for (const [index, parameter] of params.entries()) {
      const slots = state.slots[index] ?? [];
      if (slots.length === 0) continue;
      const { stateId } = parameter.record;
      await session.request({ kind: 'writeSlots', optimizerId: this.optimizerId, stateId, slots });
    }
    this.groups.forEach((group, index) => (group.lr = state.lr[index] ?? group.lr));
    this.steps = state.steps;
  }

  protected abstract ruleOf(group: OptimizerGroup): UpdateRule;
}

function isGroup(value: Tensor | ParameterGroup): value is ParameterGroup {
  return 'params' in value;
}

function groupsOf(
  params: Iterable<Tensor> | readonly ParameterGroup[],
  defaults: Required<GroupOptions>,
): OptimizerGroup[] {
  const list = [...(params as Iterable<Tensor | ParameterGroup>)];
  const groups = list.filter(isGroup);
  const loose = list.filter((value): value is Tensor => !isGroup(value));
  if (loose.length > 0) groups.unshift({ params: loose });
  const seen = new Set<Tensor>();
  const result = groups.map((group) => {
    const lr = group.lr ?? defaults.lr;
    const weightDecay = group.weightDecay ?? defaults.weightDecay;
    return { params: parametersOf(group.params, seen), lr, weightDecay, initialLr: lr };
  });
  if (seen.size === 0) {
    throw new AutogradError(
      'optimizer: got no parameters; pass model.parameters(), or tensors made with { requiresGrad: true }',
    );
  }
  return result;
}

function parametersOf(params: Iterable<Tensor>, seen: Set<Tensor>): Parameter[] {
  const list: Parameter[] = [];
  for (const parameter of params) {
    if (!(parameter instanceof Parameter) || !parameter.requiresGrad) {
      throw new AutogradError(
        `optimizer: ${String(parameter)} is not a parameter; pass model.parameters(), or make the tensor with { requiresGrad: true }`,
      );
    }
    if (seen.has(parameter)) continue;
    seen.add(parameter);
    list.push(parameter);
  }
  return list;
}
