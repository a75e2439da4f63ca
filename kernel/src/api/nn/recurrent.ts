/** @file RNN, GRU and LSTM: weights and gate order as in PyTorch; time steps are unrolled into the graph. */
import { formatShape, ShapeError } from '@ravenlab/protocol';
import { stack, zeros } from '../functions.js';
import type { Parameter } from '../parameter.js';
import type { Tensor } from '../tensor.js';
import { uniformParameter } from './init.js';
import { linear } from './linear.js';
import { Module } from './module.js';

export interface RecurrentOptions {
  readonly layers?: number;
  /** False: time first, `[T, B, F]`. PyTorch's default is false; ours is true, as data loaders give batches. */
  readonly batchFirst?: boolean;
  readonly bias?: boolean;
}

/** Weights of one layer: `[gates · H, F]`, `[gates · H, H]`, biases `[gates · H]`. */
interface LayerWeights {
  readonly input: Parameter;
  readonly hidden: Parameter;
  readonly inputBias: Parameter | null;
  readonly hiddenBias: Parameter | null;
}

/** What a cell carries from step to step: `[h]`, or `[h, c]` for an LSTM; each `[B, H]`. */
type Carry = readonly Tensor[];

/** Output of every time step `[B, T, H]` (or `[T, B, H]`), and the last state of every layer `[layers, B, H]`. */
export interface RecurrentResult<State> {
  readonly output: Tensor;
  readonly state: State;
}

abstract class Recurrent extends Module {
  readonly hiddenSize: number;
  private readonly inputSize: number;
  private readonly batchFirst: boolean;
  private readonly carried: number;
  private readonly weights: readonly LayerWeights[];

  constructor(
    inputSize: number,
    hiddenSize: number,
    options: RecurrentOptions,
    shape: { readonly gates: number; readonly carried: number },
  ) {
    super();
    this.inputSize = inputSize;
    this.hiddenSize = hiddenSize;
    this.batchFirst = options.batchFirst ?? true;
    this.carried = shape.carried;
    const bound = 1 / Math.sqrt(hiddenSize);
    const rows = shape.gates * hiddenSize;
    const bias = (): Parameter | null =>
      options.bias === false ? null : uniformParameter([rows], bound);
    this.weights = Array.from({ length: options.layers ?? 1 }, (_, layer) => ({
      input: uniformParameter([rows, layer === 0 ? inputSize : hiddenSize], bound),
      hidden: uniformParameter([rows, hiddenSize], bound),
      inputBias: bias(),
      hiddenBias: bias(),
    }));
  }

  /** One time step from the two products `x·Wᵀ + b` and `h·Uᵀ + c`, each `[B, gates · H]`. */
  protected abstract cell(input: Tensor, hidden: Tensor, carry: Carry): Carry;

  /** PyTorch's names: weight_ih_l0, weight_hh_l0, bias_ih_l0, bias_hh_l0, … */
  protected override members(): [string, Parameter][] {
    return this.weights.flatMap(({ input, hidden, inputBias, hiddenBias }, layer) => {
      const named: [string, Parameter | null][] = [
        [`weight_ih_l${String(layer)}`, input],
        [`weight_hh_l${String(layer)}`, hidden],
        [`bias_ih_l${String(layer)}`, inputBias],
        [`bias_hh_l${String(layer)}`, hiddenBias],
      ];
      return named.filter((entry): entry is [string, Parameter] => entry[1] !== null);
    });
  }

  protected override describe(): string {
    return `${String(this.inputSize)} → ${String(this.hiddenSize)}, ${String(this.weights.length)} layers`;
  }

  /** Runs all layers; `initial[k]` is carry k of every layer `[layers, B, H]`. */
  protected run(x: Tensor, initial: readonly Tensor[] | undefined): RecurrentResult<Tensor[]> {
    if (x.ndim !== 3 || x.shape[2] !== this.inputSize) {
      throw new ShapeError(
        `${this.constructor.name}: expected ${this.batchFirst ? '[B, T, ' : '[T, B, '}${String(this.inputSize)}], got ${formatShape(x.shape)}`,
        { shape: x.shape, inputSize: this.inputSize },
      );
    }
    const timeAxis = this.batchFirst ? 1 : 0;
    const steps = x.shape[timeAxis] ?? 0;
    const batch = x.shape[1 - timeAxis] ?? 0;
    const last: Carry[] = [];
    let sequence = x;
    for (const [layer, weights] of this.weights.entries()) {
      // One product for all time steps; only the hidden product has to wait for the step before.
      const projected = linear(sequence, weights.input, weights.inputBias);
      let carry = Array.from(
        { length: this.carried },
        (_, k) => initial?.[k]?.at([layer]) ?? zeros([batch, this.hiddenSize]),
      ) as Carry;
      const outputs: Tensor[] = [];
      for (let step = 0; step < steps; step++) {
        const input = projected.at(this.batchFirst ? [':', step] : [step]);
        const [h] = carry;
        if (h === undefined) break;
        carry = this.cell(input, linear(h, weights.hidden, weights.hiddenBias), carry);
        outputs.push(carry[0] ?? h);
      }
      last.push(carry);
      sequence = stack(outputs, timeAxis);
    }
    const state = Array.from({ length: this.carried }, (_, k) =>
      stack(last.flatMap((carry) => carry[k] ?? [])),
    );
    return { output: sequence, state };
  }
}

/** h' = tanh(x·Wᵀ + h·Uᵀ + b). */
export class RNN extends Recurrent {
  constructor(inputSize: number, hiddenSize: number, options: RecurrentOptions = {}) {
    super(inputSize, hiddenSize, options, { gates: 1, carried: 1 });
  }

  /** x `[B, T, F]`, optional h0 `[layers, B, H]`. */
  forward(x: Tensor, h0?: Tensor): RecurrentResult<Tensor> {
    return single(this.run(x, h0 === undefined ? undefined : [h0]));
  }

  protected cell(input: Tensor, hidden: Tensor): Carry {
    return [input.add(hidden).tanh()];
  }
}

/** Gates r, z, n: n = tanh(x_n + r · h_n), h' = (1 - z) · n + z · h. */
export class GRU extends Recurrent {
  constructor(inputSize: number, hiddenSize: number, options: RecurrentOptions = {}) {
    super(inputSize, hiddenSize, options, { gates: 3, carried: 1 });
  }

  /** x `[B, T, F]`, optional h0 `[layers, B, H]`. */
  forward(x: Tensor, h0?: Tensor): RecurrentResult<Tensor> {
    return single(this.run(x, h0 === undefined ? undefined : [h0]));
  }

  protected cell(input: Tensor, hidden: Tensor, [h]: Carry): Carry {
    const [xr, xz, xn] = input.split(this.hiddenSize, 1);
    const [hr, hz, hn] = hidden.split(this.hiddenSize, 1);
    if (h === undefined || !xr || !xz || !xn || !hr || !hz || !hn) throw gateError();
    const reset = xr.add(hr).sigmoid();
    const update = xz.add(hz).sigmoid();
    const candidate = xn.add(reset.mul(hn)).tanh();
    // (1 - z)·n + z·h = n + z·(h - n)
    return [candidate.add(update.mul(h.sub(candidate)))];
  }
}

/** Gates i, f, g, o: c' = f · c + i · g, h' = o · tanh(c'). */
export class LSTM extends Recurrent {
  constructor(inputSize: number, hiddenSize: number, options: RecurrentOptions = {}) {
    super(inputSize, hiddenSize, options, { gates: 4, carried: 2 });
  }

  /** x `[B, T, F]`, optional [h0, c0], each `[layers, B, H]`. */
  forward(
    x: Tensor,
    initial?: readonly [Tensor, Tensor],
  ): RecurrentResult<readonly [Tensor, Tensor]> {
    const { output, state } = this.run(x, initial);
    const [h, c] = state;
    if (h === undefined || c === undefined) throw gateError();
    return { output, state: [h, c] };
  }

  protected cell(input: Tensor, hidden: Tensor, [, c]: Carry): Carry {
    const [i, f, g, o] = input.add(hidden).split(this.hiddenSize, 1);
    if (c === undefined || !i || !f || !g || !o) throw gateError();
    const next = f.sigmoid().mul(c).add(i.sigmoid().mul(g.tanh()));
    return [o.sigmoid().mul(next.tanh()), next];
  }
}

function single({ output, state }: RecurrentResult<Tensor[]>): RecurrentResult<Tensor> {
  const [h] = state;
  if (h === undefined) throw gateError();
  return { output, state: h };
}

function gateError(): Error {
  return new Error('recurrent cell: gates are missing; this is a bug of ravenlab');
}
