/** @file An execution plan against its programs: checked once, then as the scheduler's spec and as RUN inputs. */
import type {
  ExecutionId,
  ExecutionPlan,
  PlanInput,
  PlanOutput,
  Program,
  ProgramHash,
  RobustRule,
  RunId,
  RunInput,
  StateUpdate,
  SumForm,
  TensorType,
} from '@ravenlab/protocol';
import {
  AGGREGATE_FORMS,
  ClusterError,
  ENGINE_LIMITS,
  LIMITS,
  LOSS_SCALE_TYPE,
  byteSizeOf,
  formatShape,
  readAggregate,
  sameShape,
  valueType,
} from '@ravenlab/protocol';
import type { ExecutionSpec, Resource, UnitSpec } from '../core/cluster/state.js';
import type { DataStore, DataTensor } from './dataStore.js';
import { cutAlong, framesOf } from './tensorBytes.js';
import type { Revision, StateStore } from './states.js';

/** A program as the engine keeps it. */
export interface KnownProgram {
  readonly hash: ProgramHash;
  readonly program: Program;
  readonly resource: Resource;
  readonly flops: number;
  /** What its ops read and write, as the op table counts it. */
  readonly sizeBytes: number;
  readonly amount: bigint;
  readonly outputTypes: readonly TensorType[];
}

/** Where an input's values come from, with the revisions and tensors that its ids meant when the execution began. */
type BoundInput =
  | { readonly kind: 'state'; readonly revision: Revision }
  | { readonly kind: 'data'; readonly tensor: DataTensor }
  | {
      readonly kind: 'rows';
      readonly tensor: DataTensor;
      readonly indices: Int32Array;
      readonly sharded: boolean;
    }
  | {
      readonly kind: 'inline';
      readonly type: TensorType;
      /** One value for all, or one a shard. */
      readonly values: readonly (readonly Uint8Array[])[];
      readonly sharded: boolean;
    }
  | Extract<PlanInput, { kind: 'key' }>;

export interface BoundPlan {
  readonly plan: ExecutionPlan;
  readonly programs: readonly KnownProgram[];
  readonly inputs: readonly BoundInput[];
  readonly spec: ExecutionSpec;
  /** What a unit's answer holds of each output. */
  readonly sums: readonly SumForm[];
  /** Gradients that are not summed but put together by a robust rule; null when there are none. */
  readonly robust: RobustSum | null;
  /** Revisions that it reads. */
  readonly revisions: readonly Revision[];
}

export interface RobustSum {
  readonly rule: RobustRule;
  readonly outputs: readonly number[];
}

export interface PlanContext {
  readonly states: StateStore;
  readonly data: DataStore;
  readonly program: (hash: ProgramHash) => KnownProgram;
  /** Whose bits it takes; null for those of whoever is here. */
  readonly run: RunId | null;
}

function refuse(message: string): never {
  throw new ClusterError(`plan refused: ${message}`);
}

/**
 * Resolves ids and checks that plan and programs agree.
 * @throws ClusterError naming the input, output or update that does not fit.
 */
export function bindPlan(id: ExecutionId, plan: ExecutionPlan, context: PlanContext): BoundPlan {
  checkShards(plan);
  const programs = plan.programs.map((hash) => context.program(hash));
  const inputs = plan.inputs.map((input, index) => bindInput(plan, input, index, context));
  checkPrograms(plan, programs, inputs);
  checkUpdates(plan, context.states);
  const revisions = inputs.flatMap((input) => (input.kind === 'state' ? [input.revision] : []));
  const robust = robustOf(plan);
  const spec = specOf(id, plan, programs, inputs, context, robust !== null);
  return { plan, programs, inputs, spec, sums: sumsOf(plan), robust, revisions };
}

/** Rules that take a gradient; the others take values, which keep their digits. */
const OF_OPTIMIZERS: ReadonlySet<StateUpdate['rule']['name']> = new Set(['sgd', 'adam', 'adamw']);

/** Whether an update makes weights out of a gradient. */
export const isOptimizers = ({ rule }: StateUpdate): boolean => OF_OPTIMIZERS.has(rule.name);

/** A batch that is not cut is a sum of one: its gradients are narrow too. */
function sumsOf(plan: ExecutionPlan): SumForm[] {
  const { outputs, shards, wire = 'float32' } = plan;
  const gradients = gradientsOf(plan);
  return outputs.map(({ combine, type }, index) => {
    const isSum = combine === 'sum' || (combine === 'first' && shards.length === 1);
    const isNarrow = wire !== 'float32' && type.dtype === 'float32' && gradients.has(index);
    if (isSum && isNarrow) return wire;
    return combine === 'sum' ? 'float32' : 'first';
  });
}

function gradientsOf({ updates }: ExecutionPlan): ReadonlySet<number> {
  return new Set(updates.filter(isOptimizers).map(({ output }) => output));
}

/** @throws ClusterError when the rule is none, or the gradients are more than can wait for one another. */
function robustOf(plan: ExecutionPlan): RobustSum | null {
  const rule = readAggregate(plan.aggregate ?? 'sum');
  if (rule === null)
    refuse(`its gradients are put together by no rule; expected ${AGGREGATE_FORMS}`);
  const outputs = [...gradientsOf(plan)]
    .filter((output) => plan.outputs[output]?.combine === 'sum')
    .sort((a, b) => a - b);
  if (rule === 'sum' || outputs.length === 0 || plan.shards.length === 1) return null;
  const types = plan.outputs.flatMap(({ combine, type }) => (combine === 'sum' ? [type] : []));
  const sizeBytes = plan.shards.length * types.reduce((sum, type) => sum + byteSizeOf(type), 0);
  if (sizeBytes > ENGINE_LIMITS.aggregateBytes) {
    refuse(
      `${rule.kind} keeps the gradients of ${String(plan.shards.length)} micro-shards until all are in, ${String(sizeBytes)} bytes, at most ` +
        `${String(ENGINE_LIMITS.aggregateBytes)} are possible; use larger micro-shards (cluster.microShard) or cluster.aggregate = 'sum'`,
    );
  }
  return { rule, outputs };
}

function checkShards(plan: ExecutionPlan): void {
  const { shards, programs } = plan;
  if (shards.length === 0 || shards.length > ENGINE_LIMITS.unitsPerExecution) {
    refuse(
      `${String(shards.length)} micro-shards, expected 1 … ${String(ENGINE_LIMITS.unitsPerExecution)}`,
    );
  }
  let offset = 0;
  for (const [index, shard] of shards.entries()) {
    if (shard.offset !== offset) {
      refuse(
        `micro-shard ${String(index)} starts at row ${String(shard.offset)}, expected ${String(offset)}`,
      );
    }
    if (programs[shard.program] === undefined) {
      refuse(
        `micro-shard ${String(index)} names program ${String(shard.program)} of ${String(programs.length)}`,
      );
    }
    offset += shard.size;
  }
}

function bindInput(
  plan: ExecutionPlan,
  input: PlanInput,
  index: number,
  context: PlanContext,
): BoundInput {
  switch (input.kind) {
    case 'state': {
      const revision = context.states.resolve(input.stateId, input.version);
      return { kind: 'state', revision };
    }
    case 'data':
      return { kind: 'data', tensor: context.data.get(input.dataId) };
    case 'rows': {
      const rows = plan.shards.reduce((sum, shard) => sum + shard.size, 0);
      if (input.sharded && input.indices.length !== rows) {
        refuse(
          `input ${String(index)} lists ${String(input.indices.length)} rows, the micro-shards take ${String(rows)}`,
        );
      }
      const { indices, sharded } = input;
      return { kind: 'rows', tensor: context.data.get(input.dataId), indices, sharded };
    }
    case 'inline': {
      const { type, data, shardAxis } = input;
      if (data.byteLength !== byteSizeOf(type)) {
        refuse(
          `input ${String(index)}: ${String(data.byteLength)} bytes are not ${type.dtype} ${formatShape(type.shape)}`,
        );
      }
      if (shardAxis < 0) return { kind: 'inline', type, values: [framesOf(data)], sharded: false };
      const values = plan.shards.map((shard) => framesOf(cutAlong(type, data, shardAxis, shard)));
      return { kind: 'inline', type, values, sharded: true };
    }
    case 'key':
      return input;
  }
}

/** Type of an input as a program with `size` rows must declare it. */
function inputType(input: BoundInput, planInput: PlanInput, size: number): TensorType {
  switch (input.kind) {
    case 'state':
      return input.revision.type;
    case 'data':
      return input.tensor.type;
    case 'rows': {
      const rows = input.sharded ? size : input.indices.length;
      return { dtype: input.tensor.type.dtype, shape: [rows, ...input.tensor.type.shape.slice(1)] };
    }
    case 'inline': {
      if (!input.sharded || planInput.kind !== 'inline') return input.type;
      const shape = input.type.shape.map((extent, axis) =>
        axis === planInput.shardAxis ? size : extent,
      );
      return { dtype: input.type.dtype, shape };
    }
    case 'key':
      return { dtype: 'int32', shape: [4] };
  }
}

function checkPrograms(
  plan: ExecutionPlan,
  programs: readonly KnownProgram[],
  inputs: readonly BoundInput[],
): void {
  const sizes = new Map<number, number>();
  for (const shard of plan.shards) {
    const size = sizes.get(shard.program) ?? shard.size;
    if (size !== shard.size)
      refuse(
        `program ${String(shard.program)} is for ${String(size)} rows, not ${String(shard.size)}`,
      );
    sizes.set(shard.program, size);
  }
  for (const [index, size] of sizes) {
    const known = programs[index];
    if (known === undefined) continue;
    const declared = known.program.inputs;
    if (declared.length !== inputs.length) {
      refuse(
        `program ${String(index)} takes ${String(declared.length)} inputs, the plan has ${String(inputs.length)}`,
      );
    }
    inputs.forEach((input, at) => {
      const given = inputType(input, plan.inputs[at] as PlanInput, size);
      checkSame(declared[at], given, `input ${String(at)} of program ${String(index)}`);
    });
    if (known.outputTypes.length !== plan.outputs.length) {
      refuse(
        `program ${String(index)} has ${String(known.outputTypes.length)} outputs, the plan ${String(plan.outputs.length)}`,
      );
    }
  }
  plan.outputs.forEach((output, at) => {
    checkOutput(plan, programs, output, at);
  });
}

function checkOutput(
  plan: ExecutionPlan,
  programs: readonly KnownProgram[],
  output: PlanOutput,
  at: number,
): void {
  const types = plan.shards.map((shard) => programs[shard.program]?.outputTypes[at]);
  if (output.combine === 'sum' && output.type.dtype === 'bool') {
    refuse(`output ${String(at)} is bool and cannot be summed; cast it to int32 first`);
  }
  if (output.combine !== 'concat') {
    for (const type of new Set(types)) checkSame(type, output.type, `output ${String(at)}`);
    return;
  }
  const extent = types.reduce((sum, type) => sum + (type?.shape[output.axis] ?? 0), 0);
  const shape = types[0]?.shape.map((size, axis) => (axis === output.axis ? extent : size));
  const whole = shape === undefined ? undefined : { dtype: types[0]?.dtype ?? 'bool', shape };
  checkSame(whole, output.type, `output ${String(at)}`);
}

function checkSame(actual: TensorType | undefined, expected: TensorType, what: string): void {
  if (actual?.dtype === expected.dtype && sameShape(actual.shape, expected.shape)) return;
  const found = actual === undefined ? 'nothing' : `${actual.dtype} ${formatShape(actual.shape)}`;
  refuse(
    `${what} is ${found} in the program, the plan gives ${expected.dtype} ${formatShape(expected.shape)}`,
  );
}

function checkUpdates(plan: ExecutionPlan, states: StateStore): void {
  const updated = new Set<number>();
  for (const update of plan.updates) {
    const output = plan.outputs[update.output];
    if (output === undefined)
      refuse(`an update names output ${String(update.output)}, which does not exist`);
    if (updated.has(update.stateId)) refuse(`state ${String(update.stateId)} is updated twice`);
    updated.add(update.stateId);
    checkSame(states.typeOf(update.stateId), output.type, `state ${String(update.stateId)}`);
    if (output.type.dtype !== 'float32' && update.rule.name !== 'assign') {
      refuse(
        `rule ${update.rule.name} needs float32, state ${String(update.stateId)} is ${output.type.dtype}`,
      );
    }
    if (update.rule.name !== 'lossScale') continue;
    checkSame(output.type, LOSS_SCALE_TYPE, `output ${String(update.output)}, a loss scale's,`);
    if (plan.updates.find(({ rule }) => rule.name === 'lossScale') !== update)
      refuse('two loss scales decide about it, at most one can');
  }
}

function specOf(
  id: ExecutionId,
  plan: ExecutionPlan,
  programs: readonly KnownProgram[],
  inputs: readonly BoundInput[],
  context: PlanContext,
  isRobust: boolean,
): ExecutionSpec {
  const common: Resource[] = [];
  let commonBytes = 0;
  for (const input of inputs) {
    if (input.kind === 'state') common.push(input.revision.resource);
    if (input.kind === 'data') common.push(...input.tensor.blocks);
    if (input.kind === 'rows' && !input.sharded) {
      common.push(...context.data.blocksOf(input.tensor, input.indices));
    }
    if (input.kind === 'inline' && !input.sharded) commonBytes += byteSizeOf(input.type);
  }
  const units = plan.shards.map((shard, index): UnitSpec => {
    const resources: Resource[] = [];
    // A lone unit's RUN carries the common values too; counting them with every unit is the safe side.
    let messageBytes = 64 + commonBytes;
    for (const input of inputs) {
      if (input.kind === 'rows' && input.sharded) {
        const indices = input.indices.subarray(shard.offset, shard.offset + shard.size);
        resources.push(...context.data.blocksOf(input.tensor, indices));
        messageBytes += indices.byteLength;
      }
      if (input.kind === 'inline' && input.sharded) {
        messageBytes += (input.values[index] ?? []).reduce((sum, f) => sum + f.byteLength, 0);
      }
    }
    if (messageBytes > LIMITS.messageBytes / 2) {
      refuse(
        `micro-shard ${String(index)} carries ${String(messageBytes)} bytes of values with it, at most ${String(LIMITS.messageBytes / 2)} can; put large tensors into a data set`,
      );
    }
    return { program: shard.program, resources, messageBytes, samples: shard.size };
  });
  const specs = programs.map(({ resource, flops, amount }) => ({ resource, flops, amount }));
  // What is put together by a robust rule comes micro-shard by micro-shard.
  const isMergeable = !isRobust && plan.outputs.every(({ combine }) => combine !== 'concat');
  const { run } = context;
  return { id, run, programs: specs, common: unique(common), units, isMergeable };
}

function unique(resources: readonly Resource[]): Resource[] {
  return [...new Map(resources.map((resource) => [resource.id, resource])).values()];
}

/** Whether an execution reads one of these data sets. */
export function readsData({ inputs }: BoundPlan, ids: readonly number[]): boolean {
  return inputs.some((input) => 'tensor' in input && ids.includes(input.tensor.dataId));
}

/** The inputs of a RUN message for these shards, in their order. */
export function runInputs(bound: BoundPlan, shards: readonly number[]): RunInput[] {
  return bound.inputs.map((input): RunInput => {
    switch (input.kind) {
      case 'state': {
        const { stateId, wireVersion } = input.revision;
        return { kind: 'state', stateId, version: wireVersion };
      }
      case 'data': {
        const { dataId, rows, blockRows } = input.tensor;
        return { kind: 'data', dataId, dataRows: rows, blockRows };
      }
      case 'rows': {
        const { dataId, rows, blockRows } = input.tensor;
        const indices = input.sharded ? rowsOf(bound.plan, input.indices, shards) : input.indices;
        const perUnit = input.sharded;
        return { kind: 'rows', dataId, dataRows: rows, blockRows, perUnit, indices };
      }
      case 'inline': {
        const perUnit = input.sharded;
        const values = perUnit ? shards.map((shard) => input.values[shard] ?? []) : input.values;
        return { kind: 'inline', type: unitType(bound, input, shards), perUnit, values };
      }
      case 'key':
        return input;
    }
  });
}

function unitType(
  bound: BoundPlan,
  input: Extract<BoundInput, { kind: 'inline' }>,
  shards: readonly number[],
): TensorType {
  const at = bound.inputs.indexOf(input);
  const planInput = bound.plan.inputs[at];
  const size = bound.plan.shards[shards[0] ?? 0]?.size ?? 0;
  return planInput === undefined ? input.type : inputType(input, planInput, size);
}

function rowsOf(plan: ExecutionPlan, indices: Int32Array, shards: readonly number[]): Int32Array {
  const parts = shards.map((index) => {
    const shard = plan.shards[index];
    return shard === undefined
      ? new Int32Array(0)
      : indices.subarray(shard.offset, shard.offset + shard.size);
  });
  const [only] = parts;
  if (parts.length === 1 && only !== undefined) return only;
  const joined = new Int32Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    joined.set(part, at);
    at += part.length;
  }
  return joined;
}

/** Output types of a program, in output order. */
export function outputTypesOf(program: Program): TensorType[] {
  return program.outputs.map((id) => valueType(program, id));
}
