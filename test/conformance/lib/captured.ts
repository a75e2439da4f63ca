/** @file Graphs as programs with their data: what a worker would be given. */
import type { Program, TensorData } from '@ravenlab/protocol';
import type { GraphNode } from '../../../kernel/src/core/graph/node.js';
import { inlineLeaf } from '../../../kernel/src/core/graph/node.js';
import { backward } from '../../../kernel/src/core/autograd/backward.js';
import { programOf, trace, valueOf } from '../../../kernel/src/core/plan/capture.js';
import { MODELS } from '../../unit/core/lib/models.js';
import { readVectors, vectorOf } from '../../unit/core/lib/vectors.js';
import { arrayOf } from './backends.js';

export interface Captured {
  readonly program: Program;
  readonly inputs: readonly TensorData[];
  /** Leaf behind each input. */
  readonly leaves: readonly GraphNode[];
  /** Output of the program behind each requested node. */
  readonly outputIndex: readonly number[];
}

/** @throws Error when a leaf carries no data. */
export function capture(outputs: readonly GraphNode[]): Captured {
  const source = trace(outputs);
  const { program, inputs, outputIndex } = programOf(source, []);
  const leaves = inputs.map((id) => valueOf(source, id).node);
  const data = leaves.map((node) => {
    if (node.kind !== 'leaf' || node.leaf.kind !== 'inline') throw new Error('a leaf without data');
    return arrayOf(node.type.dtype, node.leaf.data);
  });
  return { program, inputs: data, leaves, outputIndex };
}

export const MODEL_NAMES = Object.keys(MODELS);

export interface CapturedModel extends Captured {
  /** "loss", then each weight, in the order of `outputIndex`. */
  readonly names: readonly string[];
  /** Program input of each weight. */
  readonly weightInputs: readonly number[];
}

/** Loss and all gradients of a model of test/vectors, with PyTorch's weights and inputs. */
export function capturedModel(model: string): CapturedModel {
  const vectors = readVectors(model);
  const leafFor = (name: string) => {
    const { type, data } = vectorOf(vectors, name);
    return inlineLeaf(data, type);
  };
  const names = [...vectors.tensors.keys()]
    .filter((name) => name.startsWith('param/'))
    .map((name) => name.slice('param/'.length));
  const leaves = names.map((name) => leafFor(`param/${name}`));
  const tensors = Object.fromEntries(names.map((name, index) => [name, leaves[index]!]));
  const build = MODELS[model]!;
  const { loss } = build({ ...tensors, x: leafFor('x'), target: leafFor('target') });
  const gradients = backward(loss, leaves).map((gradient, index) => {
    if (gradient === null) throw new Error(`the loss does not depend on ${names[index]!}`);
    return gradient;
  });
  const captured = capture([loss, ...gradients]);
  const weightInputs = leaves.map((leaf) => captured.leaves.indexOf(leaf));
  return { ...captured, names: ['loss', ...names], weightInputs };
}
