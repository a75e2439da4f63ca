/**
 * @file Optimizer rules in WebAssembly against the same formulas in plain JavaScript, bit by bit: every float32 operation is
 * rounded where the vector loop rounds it.
 */
import type { UpdateRule } from '@ravenlab/protocol';
import { applyUpdates, power, slotCount } from '../../../protocol/src/update.js';
import type { UpdateJob } from '../../../protocol/src/update.js';
import type { Bench } from './lib.js';
import { makeBench, values } from './lib.js';

const f = Math.fround;
const N = 1003;

/** One state under one rule, in WebAssembly memory. */
class Run {
  readonly bench: Bench;
  readonly rule: UpdateRule;
  private state: number;
  private readonly slots: number[];
  private stepsDone = 0;

  constructor(bench: Bench, rule: UpdateRule, start: Float32Array) {
    this.bench = bench;
    this.rule = rule;
    this.state = bench.put(start).ptr;
    this.slots = Array.from(
      { length: slotCount(rule) },
      () => bench.heap.allocateZeroed(N * 4).ptr,
    );
  }

  job(gradient: Float32Array, clip = -1): UpdateJob {
    return {
      rule: this.rule,
      stepsDone: this.stepsDone,
      dst: this.bench.heap.allocate(N * 4).ptr,
      state: this.state,
      value: this.bench.put(gradient).ptr,
      slots: this.slots,
      elements: N,
      isFloat: true,
      sizeBytes: N * 4,
      clip,
      output: 4,
    };
  }

  step(gradient: Float32Array, of = 1): Float32Array {
    const batch = { clips: [], updates: [this.job(gradient)] };
    const [job] = batch.updates as [UpdateJob];
    const { kernels, heap } = this.bench;
    for (let index = 0; index < of; index++) {
      expect(applyUpdates(kernels, heap.memory, batch, { index, of })).toBe(-1);
    }
    this.state = job.dst;
    this.stepsDone++;
    return this.current();
  }

  current(): Float32Array {
    return this.bench.floats({ ptr: this.state, sizeBytes: N * 4 });
  }
}

test('plain SGD with weight decay', () => {
  const w = values(N, 1);
  const g = values(N, 2);
  const rule: UpdateRule = {
    ...{ name: 'sgd', learningRate: 0.1, momentum: 0, dampening: 0 },
    ...{ nesterov: false, weightDecay: 0.01 },
  };
  const got = new Run(makeBench(), rule, w).step(g);
  const expected = w.map((x, i) => f(x - f(f(0.1) * f(g[i]! + f(f(0.01) * x)))));
  expect(got).toEqual(expected);
});

test.each([
  [false, 0],
  [true, 0],
  [false, 0.3],
])('SGD with momentum, nesterov %s, dampening %s, over three steps', (nesterov, dampening) => {
  let w = values(N, 3);
  const rule: UpdateRule = {
    ...{ name: 'sgd', learningRate: 0.05, momentum: 0.9, dampening, nesterov, weightDecay: 0.001 },
  };
  const run = new Run(makeBench(), rule, w);
  let buf = new Float32Array(N);
  for (let step = 0; step < 3; step++) {
    const g = values(N, 10 + step);
    const d = w.map((x, i) => f(g[i]! + f(f(0.001) * x)));
    buf = step === 0 ? d : buf.map((b, i) => f(f(f(0.9) * b) + f(f(1 - dampening) * d[i]!)));
    const move = nesterov ? d.map((x, i) => f(x + f(f(0.9) * buf[i]!))) : buf;
    w = w.map((x, i) => f(x - f(f(0.05) * move[i]!)));
    expect(run.step(g)).toEqual(w);
  }
});

test.each(['adam', 'adamw'] as const)('%s over four steps', (name) => {
  let w = values(N, 5);
  const rule: UpdateRule = {
    ...{ name, learningRate: 0.002, beta1: 0.9, beta2: 0.999, epsilon: 1e-8, weightDecay: 0.01 },
  };
  const run = new Run(makeBench(), rule, w);
  const m = new Float32Array(N);
  const v = new Float32Array(N);
  for (let step = 1; step <= 4; step++) {
    const g = values(N, 20 + step);
    const rate = f(0.002 / (1 - power(0.9, step)));
    const scaleV = f(1 / Math.sqrt(1 - power(0.999, step)));
    w = w.map((x, i) => {
      const d = name === 'adam' ? f(g[i]! + f(f(0.01) * x)) : g[i]!;
      m[i] = f(f(f(0.9) * m[i]!) + f(f(1 - 0.9) * d));
      v[i] = f(f(f(0.999) * v[i]!) + f(f(1 - 0.999) * f(d * d)));
      const denominator = f(f(f(Math.sqrt(v[i])) * scaleV) + f(1e-8));
      const shrunk = name === 'adam' ? x : f(f(1 - 0.002 * 0.01) * x);
      return f(shrunk - f(rate * f(m[i] / denominator)));
    });
    expect(run.step(g)).toEqual(w);
  }
});

test('Adam in float32 stays within rounding of the textbook in float64', () => {
  const start = values(N, 6);
  const rule: UpdateRule = {
    ...{ name: 'adam', learningRate: 0.01, beta1: 0.9, beta2: 0.999, epsilon: 1e-8 },
    weightDecay: 0,
  };
  const run = new Run(makeBench(), rule, start);
  const w = Float64Array.from(start);
  const m = new Float64Array(N);
  const v = new Float64Array(N);
  for (let step = 1; step <= 50; step++) {
    const g = values(N, 100 + step);
    run.step(g);
    w.forEach((x, i) => {
      m[i] = 0.9 * m[i]! + 0.1 * g[i]!;
      v[i] = 0.999 * v[i]! + 0.001 * g[i]! ** 2;
      const mHat = m[i] / (1 - 0.9 ** step);
      const vHat = v[i] / (1 - 0.999 ** step);
      w[i] = x - (0.01 * mHat) / (Math.sqrt(vHat) + 1e-8);
    });
  }
  const worst = run.current().reduce((max, x, i) => Math.max(max, Math.abs(x - w[i]!)), 0);
  expect(worst).toBeLessThan(1e-5);
});

test('ema mixes state and value, assign replaces any dtype', () => {
  const bench = makeBench();
  const state = values(N, 7);
  const value = values(N, 8);
  const mixed = new Run(bench, { name: 'ema', momentum: 0.1 }, state).step(value);
  expect(mixed).toEqual(state.map((x, i) => f(f(f(0.9) * x) + f(f(0.1) * value[i]!))));
  const assigned = new Run(bench, { name: 'assign' }, state).step(value);
  expect(assigned).toEqual(value);
});

test('clipping by norm scales all gradients of the optimizer together', () => {
  const bench = makeBench();
  const rule: UpdateRule = {
    ...{ name: 'sgd', learningRate: 1, momentum: 0, dampening: 0, nesterov: false, weightDecay: 0 },
  };
  const zero = new Float32Array(N);
  const runs = [new Run(bench, rule, zero), new Run(bench, rule, zero)];
  const gradients = [values(N, 30), values(N, 31)];
  const jobs = runs.map((run, i) => run.job(gradients[i]!, 0));
  const batch = { clips: [{ kind: 'norm', max: 0.5 } as const], updates: jobs };
  expect(applyUpdates(bench.kernels, bench.heap.memory, batch)).toBe(-1);
  let squares = 0;
  for (const job of jobs) {
    for (const x of bench.floats({ ptr: job.dst, sizeBytes: N * 4 })) squares += x * x;
  }
  expect(Math.sqrt(squares)).toBeCloseTo(0.5, 5);
  const [first] = jobs;
  const moved = bench.floats({ ptr: first!.dst, sizeBytes: N * 4 });
  expect(moved[0]! / gradients[0]![0]!).toBeCloseTo(moved[9]! / gradients[0]![9]!, 5);
});

test('clipping by value cuts each element', () => {
  const bench = makeBench();
  const rule: UpdateRule = {
    ...{ name: 'sgd', learningRate: 1, momentum: 0, dampening: 0, nesterov: false, weightDecay: 0 },
  };
  const gradient = values(N, 32);
  const job = new Run(bench, rule, new Float32Array(N)).job(gradient, 0);
  const batch = { clips: [{ kind: 'value', max: 0.01 } as const], updates: [job] };
  applyUpdates(bench.kernels, bench.heap.memory, batch);
  const moved = bench.floats({ ptr: job.dst, sizeBytes: N * 4 });
  expect(moved).toEqual(
    gradient.map((g) => f(0 - f(1 * Math.max(f(-0.01), Math.min(f(0.01), g))))),
  );
});

test.each([NaN, Infinity, -Infinity])('a gradient with %s changes nothing and is named', (bad) => {
  const bench = makeBench();
  const rule: UpdateRule = {
    ...{ name: 'adam', learningRate: 1, beta1: 0.9, beta2: 0.999, epsilon: 1e-8, weightDecay: 0 },
  };
  const good = new Run(bench, rule, values(N, 40));
  const run = new Run(bench, rule, values(N, 41));
  const gradient = values(N, 42);
  gradient[N - 1] = bad;
  const jobs = [good.job(values(N, 43)), run.job(gradient)];
  const slots = jobs.flatMap((job) => job.slots);
  expect(applyUpdates(bench.kernels, bench.heap.memory, { clips: [], updates: jobs })).toBe(4);
  for (const ptr of slots) {
    expect(bench.floats({ ptr, sizeBytes: N * 4 }).every((x) => x === 0)).toBe(true);
  }
});

test('sums of int32 wrap and sums of float32 round, as defined', () => {
  const bench = makeBench();
  const a = Int32Array.from([2 ** 31 - 1, -5, 7, 1, 2]);
  const b = Int32Array.from([1, 5, -9, 1, 2]);
  const target = bench.put(a);
  bench.kernels.addI32(target.ptr, bench.put(b).ptr, 5);
  expect([...new Int32Array(bench.heap.bytes(target).slice().buffer)]).toEqual([
    -(2 ** 31),
    0,
    -2,
    2,
    4,
  ]);
  const x = values(N, 50);
  const y = values(N, 51);
  const sum = bench.put(x);
  bench.kernels.addF32(sum.ptr, bench.put(y).ptr, N);
  expect(bench.floats(sum)).toEqual(x.map((v, i) => f(v + y[i]!)));
});

test('power is exact repeated multiplication, not the host’s pow', () => {
  expect(power(0.5, 10)).toBe(2 ** -10);
  expect(power(3, 0)).toBe(1);
  expect(power(0.999, 1000)).toBeCloseTo(0.999 ** 1000, 12);
});

describe('an update in shares', () => {
  const rules: readonly UpdateRule[] = [
    {
      ...{ name: 'adamw', learningRate: 1e-3, beta1: 0.9, beta2: 0.999 },
      ...{ epsilon: 1e-8, weightDecay: 0.01 },
    },
    {
      ...{ name: 'sgd', learningRate: 0.1, momentum: 0.9, dampening: 0 },
      ...{ nesterov: true, weightDecay: 0.01 },
    },
    { name: 'ema', momentum: 0.1 },
    { name: 'assign' },
  ];

  test.each([1, 2, 3])('has the bits of the whole, in %i shares, for every rule', (of) => {
    for (const rule of rules) {
      const states = [1, of].map((shares) => {
        const run = new Run(makeBench(), rule, values(N, 5));
        for (const seed of [6, 7]) run.step(values(N, seed), shares);
        return run.current();
      });
      expect(states[1]).toEqual(states[0]);
    }
  });

  test('is refused by every share when a value is not finite, wherever it is', () => {
    const run = new Run(makeBench(), rules[0]!, values(N, 5));
    const gradient = values(N, 6);
    gradient[N - 1] = NaN;
    const batch = { clips: [], updates: [run.job(gradient)] };
    const { kernels, heap } = run.bench;
    const refusals = [0, 1].map((index) =>
      applyUpdates(kernels, heap.memory, batch, { index, of: 2 }),
    );
    expect(refusals).toEqual([4, 4]);
  });
});
