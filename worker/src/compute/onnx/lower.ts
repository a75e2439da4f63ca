/** @file Program → ONNX model: walks the nodes, fuses biases, takes random numbers out of the graph. */
import type { OpParams, Program, ProgramNode } from '@ravenlab/protocol';
import { sizeOf, valueType } from '@ravenlab/protocol';
import { emptyResult } from '../emptiness.js';
import { emitConvolution } from './emitConv.js';
import { emitProduct } from './emitMatMul.js';
import { emitRow } from './emitTable.js';
import type { BiasFusion, BiasFusions } from './fusion.js';
import { countUses, findBiasFusions } from './fusion.js';
import { NO_MASKS, emitMasked, findMasks } from './mask.js';
import type { Masks } from './mask.js';
import type { Kernels, Operand, ValueName } from './modelBuilder.js';
import { ModelBuilder, PLAIN_KERNELS } from './modelBuilder.js';

/** A model input: a program input, or random numbers that the host draws from a key. */
export type ModelFeed =
  | { readonly name: ValueName; readonly kind: 'input'; readonly index: number }
  | {
      readonly name: ValueName;
      readonly kind: 'random';
      /** Program input that holds the key. */
      readonly key: number;
      readonly stream: number;
      readonly shape: readonly number[];
    };

export interface LoweredModel {
  readonly bytes: Uint8Array;
  /** Only what the graph reads; a program may have inputs that it does not use. */
  readonly feeds: readonly ModelFeed[];
  /** Fetch names in the order of program outputs. */
  readonly fetches: readonly ValueName[];
  /** More threads would change the bits; infinite when no number does. */
  readonly safeThreads: number;
}

/**
 * @throws RavenError 'program' for an op over empty operands that has no value.
 */
export function lowerProgram(program: Program, kernels = PLAIN_KERNELS): LoweredModel {
  return new Lowering(program, kernels).run();
}

class Lowering {
  private readonly program: Program;
  private readonly graph: ModelBuilder;
  private readonly values: (Operand | undefined)[];
  private readonly feeds: ModelFeed[] = [];
  private readonly uses: readonly number[];
  private readonly fusions: BiasFusions;
  private readonly masks: Masks;

  constructor(program: Program, kernels: Kernels) {
    this.program = program;
    this.graph = new ModelBuilder(kernels);
    this.values = new Array<Operand | undefined>(program.inputs.length + program.nodes.length);
    this.uses = countUses(program);
    this.fusions = findBiasFusions(program, this.uses);
    this.masks = kernels.areShared ? findMasks(program, this.uses) : NO_MASKS;
  }

  run(): LoweredModel {
    this.program.inputs.forEach((type, index) => {
      if (this.uses[index] === 0) return;
      const name = `i${index}`;
      this.values[index] = this.graph.input(name, type);
      this.feeds.push({ name, kind: 'input', index });
    });
    this.program.nodes.forEach((node, index) => {
      const id = this.program.inputs.length + index;
      if (this.uses[id] === 0 || this.isAbsorbed(id)) return;
      this.values[id] = { name: this.emit(node, id), type: node.type };
    });
    const fetches = this.program.outputs.map((id) => this.graph.output(this.value(id)));
    const { safeThreads } = this.graph;
    return { bytes: this.graph.finish(), feeds: this.feeds, fetches, safeThreads };
  }

  private value(id: number): Operand {
    const value = this.values[id];
    if (value === undefined) throw new Error(`value ${id} was not emitted`);
    return value;
  }

  /** Whether only what another node becomes has need of it. */
  private isAbsorbed(id: number): boolean {
    return this.fusions.absorbed.has(id) || this.masks.absorbed.has(id);
  }

  private emit(node: ProgramNode, id: number): ValueName {
    if (node.op === 'randomUniform') return this.draw(node, id);
    const types = node.inputs.map((input) => valueType(this.program, input));
    const isEmpty = [node.type, ...types].some((type) => sizeOf(type.shape) === 0);
    const fusion = this.fusions.byAdd.get(id);
    if (fusion !== undefined) return this.fused(fusion);
    const mask = this.masks.byWhere.get(id);
    if (mask !== undefined) {
      return emitMasked(this.graph, this.value(mask.sign).name, this.value(mask.kept).name);
    }
    if (!isEmpty) return this.row(node, node.inputs);
    const result = emptyResult(node, types);
    if (result.kind === 'constant') return this.graph.filled(node.type, result.value);
    const others = node.inputs.filter((_, index) => sizeOf(types[index]?.shape ?? []) > 0);
    return this.row(node, others);
  }

  private row(node: ProgramNode, inputs: readonly number[]): ValueName {
    const { graph } = this;
    const operands = inputs.map((input) => this.value(input));
    return emitRow(node.op)(operands, { graph, params: node.params, type: node.type });
  }

  private draw(node: ProgramNode, id: number): ValueName {
    const { shape, stream } = node.params as OpParams['randomUniform'];
    const name = `r${id}`;
    this.graph.input(name, node.type);
    this.feeds.push({ name, kind: 'random', key: node.inputs[0] ?? 0, stream, shape });
    return name;
  }

  /** `add` of a product or convolution and its bias, as one kernel. */
  private fused({ linear, linearNode, bias }: BiasFusion): ValueName {
    const { graph } = this;
    const [a = 0, b = 0] = linearNode.inputs;
    const operands = { a: this.value(a), b: this.value(b), bias: this.value(bias) };
    const { type } = linearNode;
    if (linear === 'matMul') {
      const params = linearNode.params as OpParams['matMul'];
      return emitProduct({ graph, ...operands, params, type });
    }
    const params = linearNode.params as OpParams['conv2d'];
    return emitConvolution({
      graph,
      x: operands.a,
      w: operands.b,
      bias: operands.bias,
      params,
      type,
    });
  }
}
