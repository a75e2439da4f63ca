/** @file Reads test/vectors (format: test/vectors/README.md). */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { TensorData, TensorType } from '@ravenlab/protocol';
import { sizeOf, viewAs } from '@ravenlab/protocol';

export interface VectorTensor {
  readonly type: TensorType;
  readonly data: TensorData;
}

export interface Vectors {
  readonly loss: number;
  /** Before each Adam step and after the last. */
  readonly losses: readonly number[];
  readonly adam: { readonly lr: number; readonly steps: number };
  readonly tensors: ReadonlyMap<string, VectorTensor>;
}

interface Manifest {
  readonly loss: number;
  readonly losses: number[];
  readonly adam: { readonly lr: number; readonly steps: number };
  readonly tensors: Record<
    string,
    { readonly dtype: 'float32' | 'int32'; readonly shape: number[]; readonly offset: number }
  >;
}

export function readVectors(model: string): Vectors {
  const folder = join(__dirname, '..', '..', '..', 'vectors');
  const manifest = JSON.parse(readFileSync(join(folder, `${model}.json`), 'utf8')) as Manifest;
  // Copied, so that views are aligned and the values are this machine's own.
  const bytes = Uint8Array.from(readFileSync(join(folder, `${model}.bin`)));
  const tensors = new Map<string, VectorTensor>();
  for (const [name, { dtype, shape, offset }] of Object.entries(manifest.tensors)) {
    const data = viewAs(dtype, bytes.buffer, offset, sizeOf(shape));
    tensors.set(name, { type: { dtype, shape }, data });
  }
  const { loss, losses, adam } = manifest;
  return { loss, losses, adam, tensors };
}

export function vectorOf(vectors: Vectors, name: string): VectorTensor {
  const tensor = vectors.tensors.get(name);
  if (tensor === undefined) throw new Error(`no vector '${name}'`);
  return tensor;
}
