/**
 * @file Propagates placements through a program: a whole-batch program in, a recipe for any micro-shard size out, or
 * the op that needs the whole batch at once.
 */
import type { OpName, Program, ProgramNode, TensorType } from '@ravenlab/protocol';
import { RavenError, valueType } from '@ravenlab/protocol';
import { alignedPlacement } from './elementwisePlacement.js';
import type { Localize, Placement, PlacementRule, Strategy } from './placement.js';
import {
  PARTIAL,
  REPLICATE,
  localShape,
  placementKey,
  samePlacement,
  shard,
  shardAxis,
} from './placement.js';
import { PLACEMENT_RULES } from './placementRules.js';
import type { Recipe, RecipeValue } from './recipe.js';
import { recipeOf } from './recipe.js';

export interface BatchCut {
  /** Rows of the whole batch. */
  readonly rows: number;
  readonly shards: number;
  /** See PlacementContext.eager. */
  readonly eager: boolean;
  /** Placement of every program input; a batched one is sharded. */
  readonly inputs: readonly Placement[];
  /** Whether an input that is not batched can still be delivered in pieces along `axis` if an op asks for it. */
  readonly canDivide: (input: number, axis: number) => boolean;
}

/** Why a program cannot be cut: node `node` of the program has no strategy for what it gets. */
export interface Refusal {
  readonly node: number;
  readonly reason: string;
}

/** The recipe of `program` under `cut`, or the first refusal. */
export function place(program: Program, cut: BatchCut): Recipe | Refusal {
  const placer = new Placer(program, cut);
  for (const [index, node] of program.nodes.entries()) {
    const refusal = placer.placeNode(node, index);
    if (refusal !== null) return refusal;
  }
  return placer.finish();
}

const SOURCES: readonly OpName[] = ['full', 'iota', 'randomUniform'];

/** Ops whose micro-shard statistics are not those of the whole: never turned from one into the other. */
const BY_CUT: readonly OpName[] = ['normalize', 'normalizeGrad', 'variance'];
/** Inputs up to which all combinations of placements are tried; beyond, concat wants all alike. */
const MOST_INPUTS = 3;
/** Ops between a value and the source that it is remade from; more is no constant any more. */
const REMAKE_DEPTH = 64;

function samePlacements(a: readonly Placement[], b: readonly Placement[]): boolean {
  return (
    a.length === b.length && a.every((placement, k) => samePlacement(placement, b[k] ?? REPLICATE))
  );
}

/** The row belongs to this op by construction of the table; TypeScript cannot follow the correlation. */
function ruleOf(op: OpName): PlacementRule<OpName> {
  return PLACEMENT_RULES[op] as PlacementRule<OpName>;
}

/** A draw in two placements would be two different draws: the program node of one, null if there is none. */
function drawnTwice(recipe: Recipe): number | null {
  const seen = new Set<number>();
  for (const { op, source } of recipe.nodes) {
    if (op !== 'randomUniform') continue;
    if (seen.has(source)) return source;
    seen.add(source);
  }
  return null;
}

class Placer {
  private readonly program: Program;
  private readonly cut: BatchCut;
  private readonly values: RecipeValue[] = [];
  /** Recipe value of every program value, in the placement it was first given. */
  private readonly main: number[] = [];
  /** The same values in other placements, by `${program value}:${placement}`; null if impossible. */
  private readonly converted = new Map<string, number | null>();
  private depth = 0;

  constructor(program: Program, cut: BatchCut) {
    this.program = program;
    this.cut = cut;
    program.inputs.forEach((type, input) => {
      const placement = cut.inputs[input] ?? REPLICATE;
      this.main.push(this.emit({ kind: 'input', input, type, placement }));
    });
  }

  placeNode(node: ProgramNode, index: number): Refusal | null {
    const inputs = node.inputs.map((id) => this.placementOf(id));
    const strategies = this.strategiesOf(node, inputs, this.cut.eager);
    const exact = strategies.find((strategy) => samePlacements(strategy.inputs, inputs));
    for (const strategy of exact === undefined ? strategies : [exact]) {
      const args = this.convertAll(node.inputs, strategy.inputs, index);
      if (args === null) continue;
      this.main.push(this.emitNode(node, index, args, strategy));
      return null;
    }
    return { node: index, reason: refusalReason(node.op, inputs) };
  }

  private strategiesOf(
    node: ProgramNode,
    inputs: readonly Placement[],
    eager: boolean,
  ): readonly Strategy<OpName>[] {
    return ruleOf(node.op)({
      params: node.params,
      inputs,
      types: node.inputs.map((id) => valueType(this.program, id)),
      output: node.type,
      rows: this.cut.rows,
      eager,
    });
  }

  finish(): Recipe | Refusal {
    const outputs = this.program.outputs.map((id) => this.mainOf(id));
    const recipe = recipeOf(this.values, outputs);
    const twice = drawnTwice(recipe);
    if (twice === null) return recipe;
    const reason =
      '`randomUniform` is used both row by row and as a whole, but each micro-shard draws its own rows';
    return { node: twice, reason };
  }

  private emit(value: RecipeValue): number {
    return this.values.push(value) - 1;
  }

  private emitNode(
    node: ProgramNode,
    source: number,
    inputs: readonly number[],
    strategy: Pick<Strategy<OpName>, 'output' | 'params'>,
  ): number {
    const { op, type } = node;
    const params = strategy.params ?? (() => node.params);
    return this.emit({
      kind: 'node',
      op,
      inputs,
      params,
      type,
      placement: strategy.output,
      source,
    });
  }

  private mainOf(id: number): number {
    const value = this.main[id];
    if (value === undefined) {
      throw new RavenError('internal', `placement: value ${String(id)} is not placed yet`);
    }
    return value;
  }

  private placementOf(id: number): Placement {
    return this.values[this.mainOf(id)]?.placement ?? REPLICATE;
  }

  private convertAll(
    ids: readonly number[],
    wants: readonly Placement[],
    user: number,
  ): number[] | null {
    const args: number[] = [];
    for (const [k, id] of ids.entries()) {
      const arg = this.convert(id, wants[k] ?? REPLICATE, user);
      if (arg === null) return null;
      args.push(arg);
    }
    return args;
  }

  /** Program value `id` in placement `want`; null if that would take communication between micro-shards. */
  private convert(id: number, want: Placement, user: number): number | null {
    const now = this.placementOf(id);
    if (samePlacement(now, want)) return this.mainOf(id);
    const key = `${String(id)}:${placementKey(want)}`;
    const known = this.converted.get(key);
    if (known !== undefined) return known;
    // Entered before the attempt, so that a value is tried once only.
    this.converted.set(key, null);
    const result = this.attempt(id, now, want, user);
    this.converted.set(key, result);
    return result;
  }

  private attempt(id: number, now: Placement, want: Placement, user: number): number | null {
    if (want.kind === 'partial') {
      const whole = this.convert(id, REPLICATE, user);
      return whole === null ? null : this.share(id, whole, user);
    }
    if (now.kind === 'partial') return null;
    return id < this.program.inputs.length ? this.divide(id, want) : this.remake(id, want, user);
  }

  /** One micro-shard's term of a whole value: 1/n of it, so that the n terms sum to the value. */
  private share(id: number, whole: number, user: number): number | null {
    const type = valueType(this.program, id);
    if (type.dtype !== 'float32') return null;
    const scalar: TensorType = { dtype: 'float32', shape: [] };
    const params = { dtype: 'float32', shape: [], value: 1 / this.cut.shards } as const;
    const node = { placement: REPLICATE, source: user, kind: 'node' } as const;
    const factor = this.emit({
      ...node,
      op: 'full',
      inputs: [],
      params: () => params,
      type: scalar,
    });
    const inputs = [whole, factor];
    return this.emit({ ...node, op: 'mul', inputs, params: () => ({}), type, placement: PARTIAL });
  }

  private divide(input: number, want: Placement): number | null {
    const type = valueType(this.program, input);
    const axis = shardAxis(want);
    const fits = type.shape[axis] === this.cut.rows && this.cut.canDivide(input, axis);
    return fits ? this.emit({ kind: 'input', input, type, placement: want }) : null;
  }

  /**
   * Another way to compute value `id`, from sources and inputs that can be divided: labels given as a plain tensor, a
   * mask, a zero state. Searches the node's own rule for a strategy with the wanted result.
   */
  private remake(id: number, want: Placement, user: number): number | null {
    const index = id - this.program.inputs.length;
    const node = this.program.nodes[index];
    if (node === undefined || BY_CUT.includes(node.op) || !this.canHold(node.type, want))
      return null;
    if (this.depth >= REMAKE_DEPTH) return null;
    this.depth++;
    const result =
      this.resized(node, index, want, user) ?? this.researched(node, index, want, user);
    this.depth--;
    return result;
  }

  /** Ops that make any extent they are told to: sources, and broadcasts along a repeated axis. */
  private resized(node: ProgramNode, index: number, want: Placement, user: number): number | null {
    const isIndexed = node.op === 'iota' && node.params['axis'] === shardAxis(want);
    const repeats =
      node.op === 'broadcastTo' &&
      node.inputs.every(
        (input) => this.alignedOperand(input, node.type, want).kind === 'replicate',
      );
    if ((!SOURCES.includes(node.op) && !repeats) || isIndexed) return null;
    const args = this.convertAll(
      node.inputs,
      node.inputs.map(() => REPLICATE),
      user,
    );
    if (args === null) return null;
    const params = (local: Localize): object => ({
      ...node.params,
      shape: localShape(node.type.shape, want, local),
    });
    return this.emitNode(node, index, args, {
      output: want,
      params: params,
    });
  }

  private researched(
    node: ProgramNode,
    index: number,
    want: Placement,
    user: number,
  ): number | null {
    if (SOURCES.includes(node.op)) return null;
    for (const inputs of this.hypotheses(node, want)) {
      const strategy = this.strategiesOf(node, inputs, false).find(
        (candidate) =>
          samePlacement(candidate.output, want) && samePlacements(candidate.inputs, inputs),
      );
      const args = strategy && this.convertAll(node.inputs, strategy.inputs, user);
      if (strategy && args) return this.emitNode(node, index, args, strategy);
    }
    return null;
  }

  /** Input placements to try: each input whole or along any axis that can hold the batch. */
  private hypotheses(node: ProgramNode, want: Placement): readonly (readonly Placement[])[] {
    if (node.inputs.length > MOST_INPUTS) return [node.inputs.map(() => want)];
    let found: readonly (readonly Placement[])[] = [[]];
    for (const input of node.inputs) {
      const type = valueType(this.program, input);
      const axes = type.shape.map((_, axis) => shard(axis));
      const choices = [REPLICATE, ...axes].filter((placement) => this.canHold(type, placement));
      found = found.flatMap((head) => choices.map((choice) => [...head, choice]));
    }
    return found;
  }

  private canHold(type: TensorType, want: Placement): boolean {
    if (want.kind !== 'shard') return true;
    const extent = type.shape[want.axis] ?? 0;
    return extent > 0 && extent % this.cut.rows === 0;
  }

  private alignedOperand(input: number, output: TensorType, want: Placement): Placement {
    if (want.kind !== 'shard') return want;
    const { shape } = valueType(this.program, input);
    return alignedPlacement(shape, output.shape.length, want.axis);
  }
}

/** In words that a person who wrote the cell can act on. */
function refusalReason(op: OpName, inputs: readonly Placement[]): string {
  const sums = inputs.some((placement) => placement.kind === 'partial');
  const rows = inputs.some((placement) => placement.kind === 'shard');
  if (sums && rows) {
    return `\`${op}\` combines single rows with a value summed over the whole batch, which exists only when every micro-shard is done`;
  }
  if (sums) {
    return `\`${op}\` needs a sum over the whole batch, which exists only when every micro-shard is done`;
  }
  return `\`${op}\` works across the rows of the batch, which lie in different micro-shards`;
}
