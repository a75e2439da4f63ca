/**
 * @file A program that does the work of several units of another one, sums their outputs in the order in which the engine
 * would, and gives the same bits. Programs in, a program out; who compiles it is not its business.
 *
 * A value of a unit is made once when it is the same for all units. Otherwise the units' values lie end to end along an
 * axis and one op works on all of them, or they lie apart and the op is repeated: what sums over the rows of a unit must
 * not sum over the rows of others.
 */
import type { OpName, Program, ProgramNode, TensorType } from '@ravenlab/protocol';
import { RavenError, inferOp, sizeOf, verifyCounts } from '@ravenlab/protocol';
import type { Fold, FoldSite, Lie } from './foldRow.js';
import { widened } from './foldRow.js';
import { foldRow } from './foldTable.js';

/** What a backend knows of its kernels. */
export interface FoldRules {
  /** Whether each unit's rows get the bits that they get alone, when all units' rows lie end to end. */
  keepsBits(op: OpName, site: FoldSite<OpName>, fold: Fold): boolean;
  /** Pairs of ops that become one kernel, by the value id of the second: both run on all units at once, or neither does. */
  pairs(program: Program): ReadonlyMap<number, number>;
  /** Whether what this op gives may be made in one kernel with what reads it, so that nothing may come between. */
  isOpen(op: OpName): boolean;
}

export interface GroupForm {
  /** A power of two. */
  readonly units: number;
  /** By input of the program: each unit has a value of its own. */
  readonly perUnit: readonly boolean[];
  /** By output: the sum over the units; else the first unit's. */
  readonly summed: readonly boolean[];
}

/** What an input of the group's program holds. */
export interface GroupInput {
  /** Input of the unit's program. */
  readonly index: number;
  /** A unit's value, the values of all end to end along the first axis, or the one that serves all. */
  readonly unit: number | 'all' | 'shared';
}

export interface GroupProgram {
  readonly program: Program;
  /** By input of `program`. */
  readonly inputs: readonly GroupInput[];
  /** Ops that run on all units at once, and ops that are repeated. */
  readonly folded: number;
  readonly repeated: number;
}

/** Null: run the units one by one. */
export function groupProgram(
  program: Program,
  form: GroupForm,
  rules: FoldRules,
): GroupProgram | null {
  try {
    const group = new Grouping(program, form, rules).build();
    const { inputs, nodes, outputs } = group.program;
    verifyCounts(inputs.length, nodes.length, outputs.length);
    return group;
  } catch (error) {
    // Bounds of programs: k units may not fit where one does.
    if (error instanceof RavenError) return null;
    if (error instanceof NotGroupable) return null;
    throw error;
  }
}

class NotGroupable extends Error {}

/** The units' values of one value of the program, in the forms that were asked for so far. */
interface UnitValues {
  readonly type: TensorType;
  readonly isShared: boolean;
  /** Axis along which the units' values may lie end to end; null when there is none. */
  readonly axis: number | null;
  /** Value id of the one value, or of all values end to end. */
  whole: number | null;
  /** Value ids unit by unit. */
  readonly parts: (number | undefined)[];
  /** The op that made it unit by unit, when a reader may become one kernel with it. */
  readonly isOpen: boolean;
}

/** Between two of them there is one kernel, or a kernel and a sum in a kernel's place. */
const CLOSING: ReadonlySet<OpName> = new Set<OpName>(['add', 'sub', 'mul', 'div', 'transpose']);

class Grouping {
  private readonly unit: Program;
  private readonly form: GroupForm;
  private readonly rules: FoldRules;
  /** The second of each pair by the first. */
  private readonly seconds: ReadonlyMap<number, number>;
  private readonly isSecond: ReadonlySet<number>;
  private readonly inputs: GroupInput[] = [];
  private readonly types: TensorType[] = [];
  private readonly nodes: ProgramNode[] = [];
  private readonly values: UnitValues[] = [];
  private readonly isPerUnit: readonly boolean[];
  /** Value ids of the second of every pair that was made. */
  private readonly paired = new Set<number>();
  private folded = 0;
  private repeated = 0;

  constructor(unit: Program, form: GroupForm, rules: FoldRules) {
    this.unit = unit;
    this.form = form;
    this.rules = rules;
    const pairs = rules.pairs(unit);
    this.seconds = new Map([...pairs].map(([second, first]) => [first, second]));
    this.isSecond = new Set(pairs.keys());
    this.isPerUnit = perUnitValues(unit, form.perUnit, pairs);
  }

  build(): GroupProgram {
    this.takeInputs();
    const live = liveValues(this.unit);
    this.unit.nodes.forEach((node, index) => {
      const id = this.unit.inputs.length + index;
      if (!live.has(id)) return;
      const value = this.place(node, id);
      this.values[id] = value;
      if (!this.isSecond.has(id)) return;
      for (const made of value.whole === null ? value.parts : [value.whole]) {
        if (made !== undefined) this.paired.add(made);
      }
    });
    const outputs = this.unit.outputs.map((id, index) => this.output(id, index));
    const program = { inputs: this.types.slice(0, this.inputs.length), nodes: this.nodes, outputs };
    this.checkPairs(program);
    return { program, inputs: this.inputs, folded: this.folded, repeated: this.repeated };
  }

  /** One kernel where a unit has one, and two where it has two: anything else changes bits. */
  private checkPairs(program: Program): void {
    const found = this.rules.pairs(program);
    const isSame = found.size === this.paired.size;
    if (!isSame || ![...this.paired].every((id) => found.has(id))) throw new NotGroupable();
  }

  // ---------------------------------------------------------------- inputs and outputs

  private takeInputs(): void {
    const keys = keyInputs(this.unit);
    this.unit.inputs.forEach((type, index) => {
      const take = (unit: GroupInput['unit'], taken: TensorType): number => {
        this.inputs.push({ index, unit });
        return this.types.push(taken) - 1;
      };
      const isShared = this.form.perUnit[index] !== true;
      const isWhole = isShared || (type.shape.length > 0 && !keys.has(index));
      const { units } = this.form;
      this.values[index] = {
        type,
        isShared,
        axis: isShared || !isWhole ? null : 0,
        whole: isShared
          ? take('shared', type)
          : isWhole
            ? take('all', { dtype: type.dtype, shape: widened(type.shape, 0, units) })
            : null,
        parts: isWhole ? [] : Array.from({ length: units }, (_, unit) => take(unit, type)),
        isOpen: false,
      };
    });
  }

  private output(id: number, index: number): number {
    const value = this.value(id);
    if (this.form.summed[index] !== true) {
      // With only one unit's value read, an op of the others may become part of another kernel.
      if (!value.isShared) throw new NotGroupable();
      return this.part(value, 0);
    }
    const { shape } = value.type;
    const flat = [sizeOf(shape)];
    // A sum right behind a product would become one kernel with it, which adds in another order.
    const isOpen = value.isOpen && value.whole === null;
    const parts = Array.from({ length: this.form.units }, (_, unit) => {
      const part = this.part(value, unit);
      return isOpen ? this.add('reshape', [part], { shape: flat }) : part;
    });
    const sum = this.sum(parts);
    return isOpen ? this.add('reshape', [sum], { shape }) : sum;
  }

  /** Pairwise: ((u0 + u1) + (u2 + u3)). */
  private sum(values: readonly number[]): number {
    const [only = 0, ...others] = values;
    if (others.length === 0) return only;
    const half = values.length / 2;
    const halves = [values.slice(0, half), values.slice(half)];
    return this.add(
      'add',
      halves.map((own) => this.sum(own)),
      {},
    );
  }

  // ---------------------------------------------------------------- ops

  private place(node: ProgramNode, id: number): UnitValues {
    const { type, op, params } = node;
    const operands = node.inputs.map((input) => this.value(input));
    if (!this.isPerUnit[id]) {
      const whole = this.add(op, operands.map(wholeOf), params);
      return { type, isShared: true, axis: null, whole, parts: [], isOpen: false };
    }
    if (op === 'randomUniform') {
      const axis = type.shape.length > 0 ? 0 : null;
      const parts = this.repeat(node, operands);
      return { type, isShared: false, axis, whole: null, parts, isOpen: false };
    }
    const site: FoldSite<OpName> = {
      params,
      types: operands.map((operand) => operand.type),
      type,
      lies: operands.map(lieOf),
      units: this.form.units,
    };
    const fold = foldRow(op)(site);
    const axis = fold?.axis ?? null;
    if (fold !== null && this.mayFold(node, id, site, fold)) {
      this.folded++;
      const inputs = fold.operands.map((lie, index) => this.lying(operands[index], lie));
      const whole = this.add(op, inputs, fold.params ?? params);
      return { type, isShared: false, axis, whole, parts: [], isOpen: false };
    }
    this.repeated++;
    const parts = this.repeat(node, operands);
    return { type, isShared: false, axis, whole: null, parts, isOpen: this.rules.isOpen(op) };
  }

  private mayFold(node: ProgramNode, id: number, site: FoldSite<OpName>, fold: Fold): boolean {
    const operands = node.inputs.map((input) => this.value(input));
    const isEmpty = [node.type, ...site.types].some(({ shape }) => sizeOf(shape) === 0);
    const breaksKernel =
      CLOSING.has(node.op) && operands.some((operand) => operand.isOpen && operand.whole === null);
    if (isEmpty || breaksKernel || !this.rules.keepsBits(node.op, site, fold)) return false;
    // The first of a pair folds only if the second will: what is added must be the same for all.
    const second = this.unit.nodes[(this.seconds.get(id) ?? -1) - this.unit.inputs.length];
    return second?.inputs.every((input) => input === id || this.isPerUnit[input] !== true) ?? true;
  }

  private repeat(node: ProgramNode, operands: readonly UnitValues[]): number[] {
    return Array.from({ length: this.form.units }, (_, unit) =>
      this.add(
        node.op,
        operands.map((operand) => this.part(operand, unit)),
        node.params,
      ),
    );
  }

  // ---------------------------------------------------------------- forms of a value

  private value(id: number): UnitValues {
    const value = this.values[id];
    if (value === undefined) throw new Error(`value ${String(id)} was not placed`);
    return value;
  }

  private lying(value: UnitValues | undefined, lie: number | 'shared'): number {
    if (value === undefined) throw new Error('a fold names an operand that is not there');
    if (lie === 'shared') return wholeOf(value);
    if (value.isShared) return this.copies(value, lie);
    return (value.whole ??= this.add(
      'concat',
      Array.from({ length: this.form.units }, (_, unit) => this.part(value, unit)),
      { axis: lie },
    ));
  }

  /** One value once for each unit, end to end. */
  private copies(value: UnitValues, axis: number): number {
    const whole = wholeOf(value);
    const maker = this.nodes[whole - this.inputs.length];
    if (maker?.op === 'full') {
      const shape = widened(value.type.shape, axis, this.form.units);
      return this.add('full', [], { ...maker.params, shape });
    }
    return this.add('concat', new Array<number>(this.form.units).fill(whole), { axis });
  }

  private part(value: UnitValues, unit: number): number {
    if (value.isShared) return wholeOf(value);
    const known = value.parts[unit];
    if (known !== undefined) return known;
    const { axis, whole, type } = value;
    if (axis === null || whole === null) throw new Error('a value lies neither together nor apart');
    const extent = type.shape[axis] ?? 1;
    const part = this.add('slice', [whole], {
      begin: type.shape.map((_, i) => (i === axis ? unit * extent : 0)),
      end: type.shape.map((size, i) => (i === axis ? (unit + 1) * extent : size)),
      step: type.shape.map(() => 1),
    });
    value.parts[unit] = part;
    return part;
  }

  private add(op: OpName, inputs: readonly number[], params: ProgramNode['params']): number {
    const types = inputs.map((id) => {
      const type = this.types[id];
      if (type === undefined) throw new Error(`value ${String(id)} is not there yet`);
      return type;
    });
    const type = inferOp(op, types, params as never);
    this.nodes.push({ op, inputs, params, type });
    return this.types.push(type) - 1;
  }
}

function wholeOf({ whole }: UnitValues): number {
  if (whole === null) throw new Error('the units have values of their own');
  return whole;
}

/** Values that lie apart can be put together along their axis. */
function lieOf({ isShared, axis }: UnitValues): Lie {
  if (isShared) return 'shared';
  return axis ?? 'apart';
}

/** Inputs that random numbers are drawn from; a draw reads an input, nothing else. */
function keyInputs(program: Program): ReadonlySet<number> {
  const draws = program.nodes.filter(({ op }) => op === 'randomUniform');
  return new Set(draws.map(({ inputs: [key = 0] }) => key));
}

/** By value: whether it differs from unit to unit. Both of a pair do, or neither. */
function perUnitValues(
  program: Program,
  perUnit: readonly boolean[],
  pairs: ReadonlyMap<number, number>,
): boolean[] {
  const offset = program.inputs.length;
  const result = program.inputs.map((_, index) => perUnit[index] === true);
  program.nodes.forEach(({ inputs }, index) => {
    result[offset + index] = inputs.some((input) => result[input] === true);
  });
  for (const [second, first] of pairs) {
    if (result[second] === true && result[first] !== true) result[first] = true;
  }
  return result;
}

function liveValues(program: Program): Set<number> {
  const live = new Set(program.outputs);
  for (let index = program.nodes.length - 1; index >= 0; index--) {
    if (!live.has(program.inputs.length + index)) continue;
    for (const input of program.nodes[index]?.inputs ?? []) live.add(input);
  }
  return live;
}
