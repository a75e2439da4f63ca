/** @file Turns the gradients of one optimizer into one execution: losses, metrics, updates, clipping, run information. */
import type {
  GradientClip,
  RunId,
  StateUpdate,
  StepInfo,
  TensorData,
  UpdateRule,
} from '@ravenlab/protocol';
import { API_LIMITS } from '@ravenlab/protocol';
import type { GuardedGradients } from '../../core/autograd/lossScaling.js';
import { guarded } from '../../core/autograd/lossScaling.js';
import type { GraphNode } from '../../core/graph/node.js';
import { postOrder } from '../../core/graph/node.js';
import { deferredBelow, substituteKnown } from '../evaluate.js';
import type { Execution } from '../execution.js';
import { cutSmaller, planExecution } from '../execution.js';
import { explainNonFinite } from '../nonFinite.js';
import type { Parameter } from '../parameter.js';
import type { Runtime, StateRecord } from '../runtime.js';
import type { PendingStep } from '../stepQueue.js';
import { clipOf } from './clip.js';

export interface GradientUpdate {
  readonly parameter: Parameter;
  readonly gradient: GraphNode;
  readonly rule: UpdateRule;
}

export interface StepSpec {
  readonly optimizerId: number;
  readonly runId: RunId;
  /** Steps of this optimizer before this one. */
  readonly stepIndex: number;
  /** Where the loop goes on after the step; asked once, just before it is sent. */
  readonly bookmark: () => string;
  readonly updates: readonly GradientUpdate[];
  /** Called if the step never happens. */
  readonly onAbandoned: () => void;
  /** Called if it turns out that it did. */
  readonly onAdopted: () => void;
}

/** A state that this step writes, and the node whose value goes in. */
interface Write {
  readonly record: StateRecord;
  readonly node: GraphNode;
  readonly rule: StateUpdate['rule'];
  readonly optimizerId: number;
}

/** Sends the step; values of its losses and metrics arrive with its reply. */
export function submitStep(runtime: Runtime, spec: StepSpec): PendingStep {
  runtime.steps.throwUnreported();
  const nodes = stepNodes(runtime, spec);
  const { losses, writes, writeNodes, guard } = nodes;
  for (const deferred of deferredBelow(runtime, [...losses, ...writeNodes])) deferred.wait();
  const planned = planStep(runtime, nodes);
  const { wanted, replan } = planned;
  let { execution } = planned;
  warnOfChurn(runtime, execution);
  const clips = clipsOf(spec);
  const info = stepInfo(runtime, spec, execution, losses.length > 0);
  const step = runtime.steps.submit({
    request() {
      // A step before it may have been cut smaller since: then this one is, too.
      if (runtime.microShardRows !== execution.microShardRows) execution = replan();
      const updates = writes.map((write, index): StateUpdate => ({
        stateId: write.record.stateId,
        output: execution.outputOf[wanted.length + index] ?? -1,
        rule: write.rule,
        optimizerId: write.optimizerId,
      }));
      const isAsPlanned = execution === planned.execution;
      const bookmark = isAsPlanned
        ? info.bookmark
        : runtime.loop.cutAnew(info.runId, info.step, info.bookmark);
      const lossOutput = losses.length > 0 ? (execution.outputOf[0] ?? -1) : -1;
      const place = { ...info, bookmark, lossOutput };
      return { kind: 'execute', plan: { ...execution.plan, updates, clips, step: place } };
    },
    adapt(error) {
      const smaller = cutSmaller(runtime, execution, error, replan);
      if (smaller !== null) execution = smaller;
      return smaller !== null;
    },
    committed(outputs) {
      wanted.forEach((node, index) => {
        const values = outputs[execution.outputOf[index] ?? -1];
        if (values) runtime.remember(node, values);
      });
      const loss = losses.length === 0 ? null : (outputs[execution.outputOf[0] ?? -1]?.[0] ?? null);
      const overflows = guard === null ? -1 : (execution.outputOf[wanted.length - 1] ?? -1);
      const isSkipped = (outputs[overflows]?.[0] ?? 0) > 0;
      runtime.meter.report({ loss, samples: execution.samples, isSkipped });
    },
    abandoned() {
      // Read later, their values are computed anew or say that their weights are gone.
      for (const node of wanted) runtime.forget(node);
      spec.onAbandoned();
    },
    adopted(version) {
      for (const { record } of writes) record.recordUpdate(version);
      spec.onAdopted();
    },
    diagnose: (error) => explainNonFinite(runtime, execution, error, spec.stepIndex),
  });
  const deferred = { wait: () => step.wait(), ready: () => step.ready() };
  for (const node of wanted) {
    runtime.defer(node, { ...deferred, value: (): TensorData | null => null });
  }
  for (const { record } of writes) record.recordUpdate(runtime.version);
  return step;
}

/** What the step computes, of all that was differentiated and looked at since the last one. */
function stepNodes(runtime: Runtime, spec: StepSpec): StepNodes {
  const roots = runtime.takeRoots();
  const losses = roots.filter((node) => !runtime.isSettled(node));
  const gradients = spec.updates.map(({ gradient }) => gradient);
  const members = new Set(postOrder([...roots, ...gradients]));
  const scale = runtime.compute === 'float16' ? runtime.lossScaler.record : null;
  const guard = scale === null ? null : guarded(gradients);
  const writes = [
    ...scaleWrites(scale, guard),
    ...gradientWrites(spec, guard?.gradients ?? gradients),
    ...runtime.buffers.take(members),
  ];
  const writeNodes = writes.map(({ node }) => node);
  const sinks = runtime.recent.sinksOf(new Set(postOrder([...members, ...writeNodes])), (node) =>
    runtime.isSettled(node),
  );
  runtime.recent.clear();
  return { losses, writes, writeNodes, sinks, guard };
}

/** How the step decides whether it is made, and by what the next loss is scaled. */
function scaleWrites(record: StateRecord | null, guard: GuardedGradients | null): Write[] {
  if (guard === null || record === null) return [];
  return [{ record, node: guard.overflows, rule: { name: 'lossScale' }, optimizerId: 0 }];
}

function gradientWrites(spec: StepSpec, gradients: readonly GraphNode[]): Write[] {
  return spec.updates.map(({ parameter, gradient, rule }, index) => ({
    record: parameter.record,
    node: gradients[index] ?? gradient,
    rule,
    optimizerId: spec.optimizerId,
  }));
}

interface StepNodes {
  readonly losses: readonly GraphNode[];
  readonly writes: readonly Write[];
  readonly writeNodes: readonly GraphNode[];
  /** Values beside the loss that somebody looked at before. */
  readonly sinks: readonly GraphNode[];
  readonly guard: GuardedGradients | null;
}

interface PlannedStep {
  readonly execution: Execution;
  readonly wanted: readonly GraphNode[];
  /** Plans the same nodes by the micro-shard that is right now. */
  readonly replan: () => Execution;
}

/** `wanted` are delivered, in order, what tells of an overflow last; the written values follow them among the outputs and stay in the engine. */
function planStep(runtime: Runtime, { losses, writeNodes, sinks, guard }: StepNodes): PlannedStep {
  const flags = guard === null ? [] : [guard.overflows];
  const attempt = (wanted: readonly GraphNode[]): PlannedStep => {
    const roots = substituteKnown(runtime, [...wanted, ...writeNodes]);
    const replan = (): Execution => planExecution(runtime, roots, wanted.length);
    return { execution: replan(), wanted, replan };
  };
  const whole = attempt([...losses, ...sinks, ...flags]);
  if (whole.execution.note === undefined) return whole;
  // A metric like exp(loss) must not cost the step its parallelism; it is computed when it is read.
  const bare = sinks.length === 0 ? whole : attempt([...losses, ...flags]);
  if (bare.execution.note !== undefined) runtime.warnOnce(bare.execution.note);
  return bare;
}

function clipsOf(spec: StepSpec): GradientClip[] {
  const clip = clipOf(spec.updates.map(({ parameter }) => parameter));
  return clip === null ? [] : [{ optimizerId: spec.optimizerId, ...clip }];
}

function stepInfo(
  runtime: Runtime,
  spec: StepSpec,
  execution: Execution,
  hasLoss: boolean,
): StepInfo {
  const { epoch, epochs, stepsPerEpoch } = runtime.progress;
  return {
    runId: spec.runId,
    step: spec.stepIndex,
    steps: epochs === null || stepsPerEpoch === null ? null : epochs * stepsPerEpoch,
    epoch,
    epochs,
    samples: execution.samples,
    lossOutput: hasLoss ? (execution.outputOf[0] ?? -1) : -1,
    bookmark: spec.bookmark(),
  };
}

function warnOfChurn(runtime: Runtime, execution: Execution): void {
  if (runtime.programs.size < API_LIMITS.programsBeforeWarning || !execution.isNew) return;
  runtime.warnOnce(
    `ravenlab: the graph has had ${String(API_LIMITS.programsBeforeWarning)} different shapes so far; each new one is compiled on ` +
      'every worker. If that is slow, sort or pad inputs to a few lengths and mask the rest.',
  );
}
