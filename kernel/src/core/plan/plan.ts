/**
 * @file From traced outputs to what an engine executes: one program per micro-shard size, where its inputs come from,
 * how results combine. It encodes, hashes and sends nothing.
 */
import type { MicroShard, PlanInput, PlanOutput, Program, TensorType } from '@ravenlab/protocol';
import { LIMITS, RavenError } from '@ravenlab/protocol';
import type { GraphNode, LeafNode } from '../graph/node.js';
import type { CapturedProgram, Trace } from './capture.js';
import { programOf, trace, valueOf } from './capture.js';
import type { Refusal } from './place.js';
import { place } from './place.js';
import type { Placement } from './placement.js';
import { REPLICATE, shard, shardAxis } from './placement.js';
import type { Recipe } from './recipe.js';
import { instantiate, recipeValue } from './recipe.js';
import { SlotMemory } from './slotMemory.js';

/** Why a step runs as one unit although it has a batch; tell the user once per `key`. */
export interface PlanNote {
  /** Equal for equal reasons. */
  readonly key: string;
  /** What happens, why, and what to do about it. */
  readonly text: string;
  /** The graph node that needs the whole batch, null when the leaves disagree on the batch. */
  readonly node: GraphNode | null;
}

export interface Plan {
  /** One per distinct micro-shard size. The same objects as long as the graph has the same shape: encode each once. */
  readonly programs: readonly Program[];
  /** In input order of every program. */
  readonly inputs: readonly PlanInput[];
  /** In output order of every program; `deliver` is true throughout, the caller may clear it. */
  readonly outputs: readonly PlanOutput[];
  readonly shards: readonly MicroShard[];
  /** Requested output i is `outputs[outputIndex[i]]`: equal values travel once. */
  readonly outputIndex: readonly number[];
  /** Node i of every program computes (its part of) this graph node. */
  readonly sources: readonly GraphNode[];
  readonly note: PlanNote | null;
}

export interface PlanOptions {
  /** Rows of one micro-shard, at least 1. It decides the bits of the result; the number of workers never does. */
  readonly microShard: number;
}

/** What every trace of one skeleton shares. Input ids are positions among the trace's values. */
interface Template {
  readonly programs: readonly Program[];
  readonly inputs: readonly { readonly value: number; readonly axis: number }[];
  readonly outputs: readonly PlanOutput[];
  readonly shards: readonly MicroShard[];
  readonly outputIndex: readonly number[];
  readonly sources: readonly number[];
  readonly note: { readonly text: string; readonly value: number | null } | null;
}

/** Plans by graph shape; one per user thread, passed to every `plan`. */
export class PlanMemory {
  private readonly slots = new SlotMemory<Template>();

  /** The template for `source`, from memory if this shape was planned before. */
  templateOf(source: Trace, options: PlanOptions): Template {
    const skeleton = this.slots.observe(source);
    const key = String(options.microShard);
    const known = skeleton.plans.get(key);
    if (known !== undefined) return known;
    const template = makeTemplate(source, programOf(source, skeleton.isSlot), options);
    if (skeleton.plans.size >= LIMITS.plansPerSkeleton) skeleton.plans.clear();
    skeleton.plans.set(key, template);
    return template;
  }
}

/**
 * Plans the evaluation of `outputs` as one execution. A batch is cut into micro-shards when every batched leaf has the
 * same number of rows and every op allows it; otherwise it is one unit, and `note` says why.
 * @throws RavenError `limit` for a graph too large for one program; `program` for a micro-shard below 1.
 */
export function plan(
  outputs: readonly GraphNode[],
  options: PlanOptions,
  memory: PlanMemory = new PlanMemory(),
): Plan {
  if (!Number.isInteger(options.microShard) || options.microShard < 1) {
    throw new RavenError(
      'program',
      `microShard is ${String(options.microShard)}, expected an integer of at least 1 row`,
    );
  }
  if (outputs.length === 0) {
    throw new RavenError('program', 'nothing to plan: give at least one output');
  }
  const source = trace(outputs);
  const template = memory.templateOf(source, options);
  const { programs, shards, outputIndex } = template;
  return {
    programs,
    shards,
    outputIndex,
    outputs: template.outputs,
    inputs: template.inputs.map(({ value, axis }) => planInput(source, value, axis)),
    sources: template.sources.map((value) => valueOf(source, value).node),
    note: noteOf(source, template),
  };
}

function noteOf(source: Trace, { note }: Template): PlanNote | null {
  if (note === null) return null;
  const node = note.value === null ? null : valueOf(source, note.value).node;
  return { key: note.text, text: note.text, node };
}

function planInput(source: Trace, id: number, axis: number): PlanInput {
  const { node, hole } = valueOf(source, id);
  if (hole >= 0) {
    const data = Float32Array.of(source.scalars[hole] ?? NaN);
    return { kind: 'inline', type: node.type, data, shardAxis: -1 };
  }
  if (node.kind !== 'leaf') throw new RavenError('internal', 'a program input is not a leaf');
  const { leaf, type } = node;
  switch (leaf.kind) {
    case 'state':
      return { kind: 'state', stateId: leaf.stateId, version: leaf.version };
    case 'rows': {
      const { dataId, indices } = leaf;
      return { kind: 'rows', dataId, indices, sharded: axis >= 0 };
    }
    case 'data':
      return { kind: 'data', dataId: leaf.dataId };
    case 'inline':
      return { kind: 'inline', type, data: leaf.data, shardAxis: axis };
    case 'key': {
      const { seedLow, seedHigh, step } = leaf;
      return { kind: 'key', seedLow, seedHigh, step };
    }
  }
}

/** Axis of a leaf that the batch runs along, -1 if it has none. */
function batchAxisOf({ leaf }: LeafNode): number {
  if (leaf.kind === 'rows') return leaf.batched ? 0 : -1;
  return leaf.kind === 'inline' ? leaf.batchAxis : -1;
}

function makeTemplate(source: Trace, captured: CapturedProgram, options: PlanOptions): Template {
  const leaves = captured.inputs.map((id) => valueOf(source, id).node);
  const axes = leaves.map((node) => (node.kind === 'leaf' ? batchAxisOf(node) : -1));
  const sizes = new Set(
    leaves.flatMap((node, k) => {
      const axis = axes[k] ?? -1;
      return axis < 0 ? [] : [node.type.shape[axis] ?? 0];
    }),
  );
  const [rows = 0] = sizes;
  if (sizes.size > 1) {
    const list = [...sizes].join(', ');
    const why = `its inputs have batches of different sizes (${list} rows); give all of them the same number of rows`;
    return wholeTemplate(captured, Math.max(...sizes), { text: noteText(why), value: null });
  }
  if (rows <= options.microShard) return wholeTemplate(captured, rows, null);
  const result = cutBatch(captured, leaves, axes, rows, options);
  if ('reason' in result) {
    const why = `${result.reason}; compute it from the awaited result after the step, or per row`;
    const value = captured.nodes[result.node] ?? null;
    return wholeTemplate(captured, rows, { text: noteText(why), value });
  }
  return cutTemplate(captured, result, rows, options.microShard);
}

function noteText(why: string): string {
  return `this step runs as one unit on one worker instead of in micro-shards: ${why}`;
}

function cutBatch(
  captured: CapturedProgram,
  leaves: readonly GraphNode[],
  axes: readonly number[],
  rows: number,
  { microShard }: PlanOptions,
): Recipe | Refusal {
  const inputs = axes.map((axis): Placement => (axis < 0 ? REPLICATE : shard(axis)));
  const canDivide = (input: number, axis: number): boolean => {
    const node = leaves[input];
    if (node?.kind !== 'leaf') return false;
    return node.leaf.kind === 'inline' || (node.leaf.kind === 'rows' && axis === 0);
  };
  const cut = { rows, shards: Math.ceil(rows / microShard), inputs, canDivide };
  const eager = place(captured.program, { ...cut, eager: true });
  if (!('reason' in eager)) return eager;
  // A constant whose first extent happens to be the batch size may be no batch at all.
  const lazy = place(captured.program, { ...cut, eager: false });
  return 'reason' in lazy ? eager : lazy;
}

/** One unit that sees everything: nothing is cut, so nothing needs combining. */
function wholeTemplate(captured: CapturedProgram, rows: number, note: Template['note']): Template {
  const { program } = captured;
  return {
    programs: [program],
    inputs: captured.inputs.map((value) => ({ value, axis: -1 })),
    outputs: program.outputs.map((id) => ({
      combine: 'first',
      axis: 0,
      type: outputType(program, id),
      deliver: true,
    })),
    shards: [{ program: 0, offset: 0, size: Math.max(1, rows) }],
    outputIndex: captured.outputIndex,
    sources: captured.nodes,
    note,
  };
}

function outputType(program: Program, id: number): TensorType {
  const type = program.inputs[id] ?? program.nodes[id - program.inputs.length]?.type;
  if (type === undefined) throw new RavenError('internal', `no output value ${String(id)}`);
  return type;
}

function cutTemplate(
  captured: CapturedProgram,
  recipe: Recipe,
  rows: number,
  microShard: number,
): Template {
  const full = Math.floor(rows / microShard);
  const rest = rows - full * microShard;
  const shards: MicroShard[] = Array.from({ length: full }, (_, index) => ({
    program: 0,
    offset: index * microShard,
    size: microShard,
  }));
  const programs = [instantiate(recipe, rows, microShard)];
  if (rest > 0) {
    shards.push({ program: 1, offset: full * microShard, size: rest });
    programs.push(instantiate(recipe, rows, rest));
  }
  return {
    programs,
    inputs: recipe.inputs.map(({ input, placement }) => ({
      value: captured.inputs[input] ?? -1,
      axis: shardAxis(placement),
    })),
    outputs: recipe.outputs.map((id) => combined(recipe, id)),
    shards,
    outputIndex: captured.outputIndex,
    sources: recipe.nodes.map(({ source }) => captured.nodes[source] ?? -1),
    note: null,
  };
}

function combined(recipe: Recipe, id: number): PlanOutput {
  const { type, placement } = recipeValue(recipe, id);
  const shared = { type, deliver: true } as const;
  switch (placement.kind) {
    case 'shard':
      return { ...shared, combine: 'concat', axis: placement.axis };
    case 'partial':
      return { ...shared, combine: 'sum', axis: 0 };
    case 'replicate':
      return { ...shared, combine: 'first', axis: 0 };
  }
}
