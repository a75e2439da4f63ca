/** @file Gradient clipping: noted on the parameters, carried out in the engine on the combined gradients. */
import { AutogradError, ShapeError } from '@ravenlab/protocol';
import type { Tensor } from '../tensor.js';

interface Clip {
  readonly kind: 'norm' | 'value';
  readonly max: number;
}

const pending = new WeakMap<Tensor, Clip>();

function note(name: string, params: Iterable<Tensor>, clip: Clip): void {
  if (!(clip.max > 0)) {
    throw new ShapeError(`${name}: the bound must be above 0, got ${String(clip.max)}`);
  }
  for (const parameter of params) pending.set(parameter, clip);
}

/**
 * Scales the gradients of the next step so that their joint L2 norm is at most `maxNorm`. Call it between
 * `backward()` and `step()` with all parameters of the optimizer.
 */
export function clipGradNorm(params: Iterable<Tensor>, maxNorm: number): void {
  note('clipGradNorm', params, { kind: 'norm', max: maxNorm });
}

/** Limits every element of the gradients of the next step to -`maxValue` … `maxValue`. */
export function clipGradValue(params: Iterable<Tensor>, maxValue: number): void {
  note('clipGradValue', params, { kind: 'value', max: maxValue });
}

/**
 * The clip noted for a step's parameters, which it uses up.
 * @throws AutogradError when only some of them are to be clipped: the engine clips per optimizer.
 */
export function clipOf(params: readonly Tensor[]): Clip | null {
  const clips = params.map((parameter) => pending.get(parameter));
  for (const parameter of params) pending.delete(parameter);
  const [first] = clips;
  const mixed = clips.findIndex((clip) => clip?.kind !== first?.kind || clip?.max !== first?.max);
  if (mixed >= 0) {
    throw new AutogradError(
      'clip: some parameters of this optimizer were clipped and others not; pass all of them, or give the clipped ones an ' +
        'optimizer of their own',
    );
  }
  return first ?? null;
}
