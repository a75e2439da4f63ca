/** @file What the kernel asks of the engine: states, data, executions, commands. Plain data; no transport. */
import type { Aggregate } from './aggregate.js';
import type { LossScaleRule } from './lossScale.js';
import type { UpdateRule } from './update.js';
import type { TensorData } from './dtype.js';
import type { DataId, ProgramHash, RunId, StateId, StateVersion } from './ids.js';
import type { JobState } from './panel/state.js';
import type { WireFormat } from './narrow.js';
import type { TensorType } from './shape.js';

/** Where a program input comes from. Inputs with a `shardAxis` are cut into micro-shards along it. */
export type PlanInput =
  | { readonly kind: 'state'; readonly stateId: StateId; readonly version: StateVersion }
  /** Rows (axis 0) of a data tensor, in the order of `indices`; sharded: each micro-shard takes its part of the list. */
  | {
      readonly kind: 'rows';
      readonly dataId: DataId;
      readonly indices: Int32Array;
      readonly sharded: boolean;
    }
  /** A whole data tensor. */
  | { readonly kind: 'data'; readonly dataId: DataId }
  /** A value that travels with the execution; `shardAxis` -1 means every micro-shard gets all of it. */
  | {
      readonly kind: 'inline';
      readonly type: TensorType;
      readonly data: TensorData;
      readonly shardAxis: number;
    }
  /** int32[4] RNG key (seed low, seed high, step, micro-shard index). */
  | {
      readonly kind: 'key';
      readonly seedLow: number;
      readonly seedHigh: number;
      readonly step: number;
    };

/**
 * How the micro-shards' results become one result. `sum`: fixed binary tree over the shard index; `concat`: along `axis` in shard order;
 * `first`: every shard computes the same value, the first shard's is taken.
 */
export interface PlanOutput {
  readonly combine: 'sum' | 'concat' | 'first';
  readonly axis: number;
  /** Whole (combined) type. */
  readonly type: TensorType;
  /** Return the combined value in the reply. */
  readonly deliver: boolean;
}

/** One fixed piece of the batch: rows `offset … offset + size` run by `programs[program]`. */
export interface MicroShard {
  readonly program: number;
  readonly offset: number;
  readonly size: number;
}

export interface StateUpdate {
  readonly stateId: StateId;
  /** Index of the output that holds the gradient or the value. */
  readonly output: number;
  /** With a `lossScale` among them, a step whose value for it is above 0 leaves what optimizers update as it is. */
  readonly rule: UpdateRule | LossScaleRule;
  /** Optimizer instance the slots belong to; 0 for rules without slots. */
  readonly optimizerId: number;
}

/** Gradient clipping over the updates of one optimizer, before its rule: by global L2 norm or by value. */
export interface GradientClip {
  readonly optimizerId: number;
  readonly kind: 'norm' | 'value';
  readonly max: number;
}

/** What the panel and the ledger know of an execution that is a training step. */
export interface StepInfo {
  readonly runId: RunId;
  /** Optimizer steps done before this one. */
  readonly step: number;
  readonly steps: number | null;
  readonly epoch: number;
  readonly epochs: number | null;
  readonly samples: number;
  /** Index of the scalar output that is the loss, -1 if none. */
  readonly lossOutput: number;
  /**
   * JSON of the API, opaque to the engine: where the loop goes on after this step (random numbers, position in the data, schedule).
   * Committed with the version that the step makes; at most API_LIMITS.bookmarkChars.
   */
  readonly bookmark: string;
}

/** The training run that an earlier session left in the engine, as of its last commit. */
export interface AttachedRun {
  readonly runId: RunId;
  /** As `openRun` gave it. */
  readonly manifest: string;
  /** Of the last committed step, or of the `mark` that followed it. */
  readonly bookmark: string;
  /** Steps committed: the next one has this number. */
  readonly step: number;
  readonly epoch: number;
  /** Version that its last commit made. Its states are the same at the version of the attachment. */
  readonly version: StateVersion;
  readonly state: JobState;
}

export interface ExecutionPlan {
  readonly programs: readonly ProgramHash[];
  /** In input order of every program of the plan. */
  readonly inputs: readonly PlanInput[];
  readonly outputs: readonly PlanOutput[];
  readonly shards: readonly MicroShard[];
  /** Empty for a pure evaluation. Non-empty: the execution makes version + 1. */
  readonly updates: readonly StateUpdate[];
  readonly clips: readonly GradientClip[];
  /**
   * What gradients travel as, and are rounded to wherever two of them are added; left out: float32. Of outputs that an optimizer
   * reads alone: losses and statistics keep their digits.
   */
  readonly wire?: WireFormat;
  /** How the gradients of micro-shards become one; left out: they are summed. Of the same outputs as `wire`. */
  readonly aggregate?: Aggregate;
  readonly step: StepInfo | null;
}

/** Every request carries the epoch of the cell that made it; the engine client refuses those of a stopped cell. */
export type EngineRequest =
  /**
   * A new session begins: the first request of whoever allocates ids. Answered by 'attached' when all that earlier sessions asked for
   * is done. What an earlier session left and this one does not adopt is dropped at this one's first training step.
   */
  | { readonly kind: 'attach' }
  /** Precedes the first step of a run; again when the run's states change. `manifest` is JSON of the API: at most API_LIMITS.manifestChars. */
  | {
      readonly kind: 'openRun';
      readonly runId: RunId;
      readonly manifest: string;
      /** Every state that going on with the run needs, whether its steps write it or not. */
      readonly stateIds: readonly StateId[];
    }
  /** The loop went further than the bookmark of `step` foresaw. Ignored unless that is the run's last committed step. */
  | {
      readonly kind: 'mark';
      readonly runId: RunId;
      readonly step: number;
      readonly bookmark: string;
    }
  /** The run's states now belong to this session: they stay until it drops them. */
  | { readonly kind: 'adopt'; readonly runId: RunId }
  | { readonly kind: 'defineProgram'; readonly hash: ProgramHash; readonly bytes: Uint8Array }
  | {
      readonly kind: 'createState';
      readonly stateId: StateId;
      readonly type: TensorType;
      readonly data: TensorData;
    }
  | {
      readonly kind: 'readStates';
      readonly stateIds: readonly StateId[];
      readonly version: StateVersion;
    }
  | { readonly kind: 'dropStates'; readonly stateIds: readonly StateId[] }
  /** `data` may view a SharedArrayBuffer. The engine keeps it until dropped and cuts it into row blocks. */
  | {
      readonly kind: 'createData';
      readonly dataId: DataId;
      readonly type: TensorType;
      readonly data: TensorData;
    }
  | { readonly kind: 'dropData'; readonly dataIds: readonly DataId[] }
  | {
      readonly kind: 'readSlots';
      readonly optimizerId: number;
      readonly stateIds: readonly StateId[];
    }
  | {
      readonly kind: 'writeSlots';
      readonly optimizerId: number;
      readonly stateId: StateId;
      readonly slots: readonly Float32Array[];
    }
  | { readonly kind: 'execute'; readonly plan: ExecutionPlan }
  /** Same operations as the panel's commands: 'status', 'scale', 'invite', 'drain', 'stopRun', 'endRun', … */
  | {
      readonly kind: 'command';
      readonly op: string;
      readonly args: Readonly<Record<string, unknown>>;
    };

export type EngineReply =
  | { readonly kind: 'ok' }
  | {
      readonly kind: 'attached';
      /** Counts the attachments to this engine, over all its lives; from 1. */
      readonly session: number;
      /** Committed updates: what the session's first step builds on. */
      readonly version: StateVersion;
      /** Above every id of a state, data tensor or optimizer that this engine has seen. */
      readonly nextId: number;
      /** The run that trained last, if an earlier session left one whose states are still there. */
      readonly run: AttachedRun | null;
    }
  /** `version` is the newest committed one, whichever was asked for. */
  | {
      readonly kind: 'states';
      readonly values: readonly TensorData[];
      readonly version: StateVersion;
    }
  | { readonly kind: 'slots'; readonly values: readonly (readonly Float32Array[])[] }
  | {
      readonly kind: 'executed';
      /** One entry an output; null where `deliver` is false. */
      readonly outputs: readonly (TensorData | null)[];
      /** States' version after the execution. */
      readonly version: StateVersion;
      readonly units: number;
      readonly workers: number;
    }
  | { readonly kind: 'result'; readonly value: unknown };
