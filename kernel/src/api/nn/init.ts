/** @file Initial values of weights, made on this thread from the seeded counter-based generator. */
import type { Shape } from '@ravenlab/protocol';
import { sizeOf, uniform } from '@ravenlab/protocol';
import { Parameter } from '../parameter.js';
import { currentRuntime } from '../runtime.js';

/** A parameter with values uniform in -bound … bound. */
export function uniformParameter(shape: Shape, bound: number): Parameter {
  const data = uniform(currentRuntime().nextHostKey(), 0, sizeOf(shape));
  for (let i = 0; i < data.length; i++) data[i] = ((data[i] ?? 0) * 2 - 1) * bound;
  return new Parameter({ data, dtype: 'float32', shape });
}

/** Standard normal times `scale`, by Box and Muller. */
export function normalParameter(shape: Shape, scale = 1): Parameter {
  const key = currentRuntime().nextHostKey();
  const size = sizeOf(shape);
  const u = uniform(key, 0, size);
  const v = uniform(key, 1, size);
  const data = u.map((value, i) => {
    const radius = Math.sqrt(-2 * Math.log(1 - value));
    return scale * radius * Math.cos(2 * Math.PI * (v[i] ?? 0));
  });
  return new Parameter({ data, dtype: 'float32', shape });
}

export function constantParameter(shape: Shape, value: number, requiresGrad = true): Parameter {
  const data = new Float32Array(sizeOf(shape)).fill(value);
  return new Parameter({ data, dtype: 'float32', shape }, requiresGrad);
}

/** Inputs that one output of a weight `[out, in, ...window]` sums over. */
export function fanIn(shape: Shape): number {
  return sizeOf(shape.slice(1));
}

/**
 * PyTorch's default for linear and convolution weights: kaiming uniform with a = √5, which is ±1/√fanIn
 * (torch.nn.init.kaiming_uniform_, gain √(2 / (1 + 5)), bound √3 · gain / √fanIn).
 */
export function kaimingUniform(shape: Shape): Parameter {
  return uniformParameter(shape, 1 / Math.sqrt(fanIn(shape)));
}

/** Glorot and Bengio (2010): ±√(6 / (fanIn + fanOut)). */
export function xavierUniform(shape: Shape): Parameter {
  const window = sizeOf(shape.slice(2));
  const fans = ((shape[0] ?? 1) + (shape[1] ?? 1)) * window;
  return uniformParameter(shape, Math.sqrt(6 / fans));
}
