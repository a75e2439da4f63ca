/** @file Reads test/vectors (format: test/vectors/README.md). */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { AnyParams, OpName, TensorData, TensorType } from '@ravenlab/protocol';
import { sizeOf, viewAs } from '@ravenlab/protocol';

export interface VectorTensor {
  readonly type: TensorType;
  readonly data: TensorData;
}
export type VectorTensors = ReadonlyMap<string, VectorTensor>;

/** One of the whole models. */
export interface Vectors {
  readonly loss: number;
  /** Before each Adam step and after the last. */
  readonly losses: readonly number[];
  readonly adam: { readonly lr: number; readonly steps: number };
  readonly tensors: VectorTensors;
}

/** One op on given inputs. */
export interface OpVector {
  readonly op: OpName;
  readonly params: AnyParams;
  readonly inputs: readonly VectorTensor[];
  readonly output: VectorTensor;
}

interface Manifest {
  readonly tensors: Record<string, TensorType & { readonly offset: number }>;
}
type ModelManifest = Manifest & Omit<Vectors, 'tensors'>;
interface OpsManifest extends Manifest {
  readonly cases: readonly {
    readonly op: OpName;
    readonly params: AnyParams;
    readonly inputs: readonly string[];
    readonly output: string;
  }[];
}

const FOLDER = join(__dirname, '..', '..', '..', 'vectors');

function readJson(name: string): unknown {
  return JSON.parse(readFileSync(join(FOLDER, `${name}.json`), 'utf8'));
}

function readTensors(name: string, manifest: Manifest): VectorTensors {
  // Copied, so that views are aligned and the values are this process' own.
  const bytes = Uint8Array.from(readFileSync(join(FOLDER, `${name}.bin`)));
  const entries = Object.entries(manifest.tensors).map(([key, { dtype, shape, offset }]) => {
    const data = viewAs(dtype, bytes.buffer, offset, sizeOf(shape));
    return [key, { type: { dtype, shape }, data }] as const;
  });
  return new Map(entries);
}

export function readVectors(model: string): Vectors {
  const manifest = readJson(model) as ModelManifest;
  const { loss, losses, adam } = manifest;
  return { loss, losses, adam, tensors: readTensors(model, manifest) };
}

export function readOpVectors(): readonly OpVector[] {
  const manifest = readJson('ops') as OpsManifest;
  const tensors = readTensors('ops', manifest);
  const pick = (name: string): VectorTensor => vectorOf({ tensors }, name);
  return manifest.cases.map(({ op, params, inputs, output }) => ({
    op,
    params,
    inputs: inputs.map(pick),
    output: pick(output),
  }));
}

export function vectorOf(
  { tensors }: { readonly tensors: VectorTensors },
  name: string,
): VectorTensor {
  const tensor = tensors.get(name);
  if (tensor === undefined) throw new Error(`no vector '${name}'`);
  return tensor;
}
