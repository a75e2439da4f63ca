/** @file Adds up the outputs of a group of units, in the order in which the engine would: a worker then answers once, not once a unit. */
import type { NarrowFormat, SumForm, TensorData } from '@ravenlab/protocol';
import { NARROW, RavenError } from '@ravenlab/protocol';

/** Sum of `units` consecutive units, a power of two. */
interface Partial {
  readonly units: number;
  readonly outputs: readonly TensorData[];
}

/**
 * The sum of a whole group, pairwise: ((u0 + u1) + (u2 + u3)). Holds one partial sum a level of the tree. Sums are made
 * in the memory of the left operand, so the arrays given to `add` belong to this object from then on. A narrow output is rounded
 * before the first addition and after each, as the engine does.
 */
export class GroupSum {
  private readonly sums: readonly SumForm[];
  private readonly recycle: (outputs: readonly TensorData[]) => void;
  private readonly addTo: (target: TensorData, addend: TensorData) => void;
  private readonly roundTo: (target: TensorData, format: NarrowFormat) => void;
  private partials: Partial[] = [];

  /**
   * @param sums By output: added up, or taken from the first unit.
   * @param recycle Gets the arrays of every operand that has been added to another, and of those that are cleared.
   * @param addTo Makes one sum, target += addend.
   * @param roundTo Rounds to what a format holds.
   */
  constructor(
    sums: readonly SumForm[],
    recycle: (outputs: readonly TensorData[]) => void = () => undefined,
    addTo: (target: TensorData, addend: TensorData) => void = addInto,
    roundTo: (target: TensorData, format: NarrowFormat) => void = roundInto,
  ) {
    this.sums = sums;
    this.roundTo = roundTo;
    this.recycle = recycle;
    this.addTo = addTo;
  }

  /** Takes the outputs of the next unit, or the sums of the next few: a power of two, at a multiple of it. */
  add(outputs: readonly TensorData[], units = 1): void {
    outputs.forEach((output, index) => this.round(output, index));
    let right: Partial = { units, outputs };
    for (
      let left = this.partials.at(-1);
      left?.units === right.units;
      left = this.partials.at(-1)
    ) {
      this.partials.pop();
      right = this.join(left, right);
    }
    this.partials.push(right);
  }

  /** The sum of everything added; the next `add` begins a new group. */
  take(): readonly TensorData[] {
    const [whole, ...rest] = this.partials;
    if (whole === undefined || rest.length > 0) {
      throw new Error('a group is a power of two of units; the codec refuses others');
    }
    this.partials = [];
    return whole.outputs;
  }

  clear(): void {
    for (const { outputs } of this.partials) this.recycle(outputs);
    this.partials = [];
  }

  private join(left: Partial, right: Partial): Partial {
    left.outputs.forEach((output, index) => {
      const addend = right.outputs[index];
      if (this.sums[index] === 'first' || addend === undefined) return;
      this.addTo(output, addend);
      this.round(output, index);
    });
    this.recycle(right.outputs);
    return { units: left.units + right.units, outputs: left.outputs };
  }

  private round(output: TensorData, index: number): void {
    const form = this.sums[index] ?? 'first';
    if (form !== 'first' && form !== 'float32') this.roundTo(output, form);
  }
}

/** What is no float32 is left as it is: it cannot be asked for. */
export function roundInto(target: TensorData, format: NarrowFormat): void {
  if (target instanceof Float32Array) NARROW[format].round(target);
}

/**
 * target += addend. A float64 sum of two float32, rounded once, is the float32 sum: 53 bits are more than twice 24 and
 * two. int32 wraps. One loop an array type, four elements a turn: a loop that sees several types takes three times as long.
 */
export function addInto(target: TensorData, addend: TensorData): void {
  if (target instanceof Float32Array && addend instanceof Float32Array) addFloats(target, addend);
  else if (target instanceof Int32Array && addend instanceof Int32Array) addInts(target, addend);
  else throw new RavenError('protocol', 'only float32 and int32 outputs can be added up');
}

function addFloats(target: Float32Array, addend: Float32Array): void {
  const whole = target.length - (target.length % 4);
  for (let i = 0; i < whole; i += 4) {
    target[i] = (target[i] ?? 0) + (addend[i] ?? 0);
    target[i + 1] = (target[i + 1] ?? 0) + (addend[i + 1] ?? 0);
    target[i + 2] = (target[i + 2] ?? 0) + (addend[i + 2] ?? 0);
    target[i + 3] = (target[i + 3] ?? 0) + (addend[i + 3] ?? 0);
  }
  for (let i = whole; i < target.length; i++) target[i] = (target[i] ?? 0) + (addend[i] ?? 0);
}

function addInts(target: Int32Array, addend: Int32Array): void {
  for (let i = 0; i < target.length; i++) target[i] = (target[i] ?? 0) + (addend[i] ?? 0);
}
