/** @file Builds ONNX models as bytes: nodes, constants, graph inputs and outputs. Knows ONNX, not our ops. */
import type { DType, Shape, TensorType } from '@ravenlab/protocol';
import { sizeOf } from '@ravenlab/protocol';
import { ProtobufWriter } from './protobuf.js';

/** Name of a value in the ONNX graph. */
export type ValueName = string;

/** A value with its type, as emission rows receive it. */
export interface Operand {
  readonly name: ValueName;
  readonly type: TensorType;
}

/** Integers and strings are written as they are; a number that is a float says so. */
export type Attribute = number | string | readonly number[] | { readonly float: number };
export type Attributes = Readonly<Record<string, Attribute>>;

// TensorProto.DataType
export const ONNX_TYPE: Readonly<Record<DType | 'int64' | 'float16', number>> = {
  float32: 1,
  int32: 6,
  int64: 7,
  bool: 9,
  float16: 10,
};

/** IR and operator set that every ONNX Runtime since 1.18 runs, and those that have BitCast. */
const VERSIONS = { plain: { ir: 10, opset: 21 }, shared: { ir: 13, opset: 26 } } as const;
/** ONNX Runtime's own operators, like FusedMatMul. */
export const MICROSOFT_DOMAIN = 'com.microsoft';
/** Convolutions over channels in blocks, and what turns tensors into that layout and back; some processors have them. */
export const BLOCKED_DOMAIN = 'com.microsoft.nchwc';

// Field numbers of onnx.proto.
const MODEL = { irVersion: 1, producer: 2, graph: 7, opset: 8 } as const;
const OPSET = { domain: 1, version: 2 } as const;
const GRAPH = { node: 1, name: 2, initializer: 5, input: 11, output: 12 } as const;
const NODE = { input: 1, output: 2, op: 4, attribute: 5, domain: 7 } as const;
const TENSOR = { dims: 1, dataType: 2, name: 8, raw: 9 } as const;
const ATTRIBUTE = { name: 1, float: 2, int: 3, string: 4, ints: 8, type: 20 } as const;
const ATTRIBUTE_TYPE = { float: 1, int: 2, string: 3, ints: 7 } as const;

const ZERO_BYTES = 2;
/** Constants above this are made by the graph itself, so that models stay small. */
const INLINE_ELEMENTS = 16;

/** What the kernels are like that run a model: how it is best put depends on it. */
export interface Kernels {
  /** Channels in a block of the blocked convolutions; 0: there are none. */
  readonly channelBlock: number;
  /**
   * Threads share the work of an op. One that does all of an op alone fetches what the others have just written, line by line, and leaves
   * them to fetch it back; where cores are far apart, as those of virtual machines may be, that takes longer than to compute. So what one
   * thread would do alone is put as several ops that are shared.
   */
  readonly areShared: boolean;
}

export const PLAIN_KERNELS: Kernels = { channelBlock: 0, areShared: false };

/**
 * One ONNX graph in the making. Equal nodes are made once (same op, inputs, attributes), so emission rows may
 * state what they need, like the statistics of a normalisation, without asking who else needs it.
 */
export class ModelBuilder {
  readonly kernels: Kernels;
  private readonly nodes: ProtobufWriter[] = [];
  private readonly initializers: ProtobufWriter[] = [];
  private readonly inputs: ProtobufWriter[] = [];
  private readonly outputs: ProtobufWriter[] = [];
  private readonly made = new Map<string, readonly ValueName[]>();
  private readonly results = new Set<ValueName>();
  private readonly outputNames = new Set<ValueName>();
  private readonly domains = new Set<string>([MICROSOFT_DOMAIN]);
  private counter = 0;
  private threads = Infinity;

  constructor(kernels: Kernels = PLAIN_KERNELS) {
    this.kernels = kernels;
  }

  /** Threads that may share every node and leave its bits as one would make them. */
  get safeThreads(): number {
    return this.threads;
  }

  limitThreads(threads: number): void {
    this.threads = Math.min(this.threads, threads);
  }

  input(name: ValueName, type: TensorType): Operand {
    this.inputs.push(valueInfo(name, onnxType(type)));
    return { name, type };
  }

  /** Makes `value` a graph output and returns the name to fetch it by: only results of nodes can be outputs, each once. */
  output(value: Operand): ValueName {
    let { name } = value;
    if (!this.results.has(name) || this.outputNames.has(name)) {
      const copied = this.fresh();
      this.nodes.push(nodeProto('Identity', [name], [copied], {}, ''));
      name = copied;
    }
    this.outputs.push(valueInfo(name, onnxType(value.type)));
    this.outputNames.add(name);
    return name;
  }

  /** One-output node of the standard operator set. An empty input name is an omitted optional input. */
  node(op: string, inputs: readonly ValueName[], attributes: Attributes = {}): ValueName {
    return this.multi({ op, inputs, attributes, outputs: 1 })[0] ?? '';
  }

  /** Node with any number of outputs, in any domain. */
  multi(spec: {
    readonly op: string;
    readonly inputs: readonly ValueName[];
    readonly attributes?: Attributes;
    readonly outputs: number;
    readonly domain?: string;
  }): readonly ValueName[] {
    const { op, inputs, attributes = {}, domain = '' } = spec;
    const key = JSON.stringify([domain, op, inputs, attributes]);
    const known = this.made.get(key);
    if (known !== undefined && known.length >= spec.outputs) return known;
    if (domain !== '') this.domains.add(domain);
    const outputs = Array.from({ length: spec.outputs }, () => this.fresh());
    this.nodes.push(nodeProto(op, inputs, outputs, attributes, domain));
    for (const name of outputs) this.results.add(name);
    this.made.set(key, outputs);
    return outputs;
  }

  /** int64 list, as ONNX wants shapes, axes and indices. */
  int64s(values: readonly number[]): ValueName {
    return this.constant('int64', [values.length], values);
  }

  int64(value: number): ValueName {
    return this.constant('int64', [], [value]);
  }

  scalar(dtype: DType, value: number): ValueName {
    return this.constant(dtype, [], [value]);
  }

  /** Constant tensor with one value everywhere. */
  filled(type: TensorType, value: number): ValueName {
    const size = sizeOf(type.shape);
    if (size <= INLINE_ELEMENTS) {
      return this.constant(type.dtype, type.shape, new Array<number>(size).fill(value));
    }
    return this.node('Expand', [this.scalar(type.dtype, value), this.int64s(type.shape)]);
  }

  /** Small constant with its values in the model. */
  constant(dtype: DType | 'int64', shape: Shape, values: readonly number[]): ValueName {
    // JSON has no infinities and one zero; String keeps them apart.
    const text = values.map((value) => (Object.is(value, -0) ? '-0' : String(value))).join();
    const key = `constant ${dtype} ${shape.join()}: ${text}`;
    const known = this.made.get(key)?.[0];
    if (known !== undefined) return known;
    const name = this.fresh();
    const tensor = new ProtobufWriter();
    tensor.ints(TENSOR.dims, shape).int(TENSOR.dataType, ONNX_TYPE[dtype]);
    tensor.string(TENSOR.name, name).raw(TENSOR.raw, rawBytes(dtype, values));
    this.initializers.push(tensor);
    this.made.set(key, [name]);
    return name;
  }

  /** The model; add nothing after this. */
  finish(): Uint8Array {
    const { ir, opset } = VERSIONS[this.kernels.areShared ? 'shared' : 'plain'];
    const graph = new ProtobufWriter();
    for (const node of this.nodes) graph.message(GRAPH.node, node);
    graph.string(GRAPH.name, 'program');
    for (const tensor of this.initializers) graph.message(GRAPH.initializer, tensor);
    for (const input of this.inputs) graph.message(GRAPH.input, input);
    for (const output of this.outputs) graph.message(GRAPH.output, output);
    const standard = new ProtobufWriter().string(OPSET.domain, '').int(OPSET.version, opset);
    const model = new ProtobufWriter()
      .int(MODEL.irVersion, ir)
      .string(MODEL.producer, 'ravenlab')
      .message(MODEL.graph, graph)
      .message(MODEL.opset, standard);
    for (const domain of this.domains) {
      const extra = new ProtobufWriter().string(OPSET.domain, domain).int(OPSET.version, 1);
      model.message(MODEL.opset, extra);
    }
    return model.finish();
  }

  private fresh(): ValueName {
    return `t${this.counter++}`;
  }
}

/**
 * A piece of a model that gives it one more output in front of its own: a scalar 0. Pieces laid end to end are one model, as protobuf
 * has it.
 * @param elementType of TensorProto.DataType; one of two bytes
 */
export function outputInFront(name: ValueName, elementType: number): Uint8Array {
  const zero = `${name}0`;
  const tensor = new ProtobufWriter().int(TENSOR.dataType, elementType).string(TENSOR.name, zero);
  tensor.raw(TENSOR.raw, new Uint8Array(ZERO_BYTES));
  const graph = new ProtobufWriter()
    .message(GRAPH.node, nodeProto('Identity', [zero], [name], {}, ''))
    .message(GRAPH.initializer, tensor)
    .message(GRAPH.output, valueInfo(name, { elementType, shape: [] }));
  return new ProtobufWriter().message(MODEL.graph, graph).finish();
}

function rawBytes(dtype: DType | 'int64', values: readonly number[]): Uint8Array {
  switch (dtype) {
    case 'float32':
      return new Uint8Array(Float32Array.from(values).buffer);
    case 'int32':
      return new Uint8Array(Int32Array.from(values).buffer);
    case 'bool':
      return Uint8Array.from(values);
    case 'int64':
      return new Uint8Array(BigInt64Array.from(values, (value) => BigInt(value)).buffer);
  }
}

const onnxType = ({ dtype, shape }: TensorType) => ({ elementType: ONNX_TYPE[dtype], shape });

function valueInfo(
  name: ValueName,
  { elementType, shape: extents }: { readonly elementType: number; readonly shape: Shape },
): ProtobufWriter {
  const shape = new ProtobufWriter();
  for (const extent of extents) shape.message(1, new ProtobufWriter().int(1, extent));
  const tensor = new ProtobufWriter().int(1, elementType).message(2, shape);
  return new ProtobufWriter().string(1, name).message(2, new ProtobufWriter().message(1, tensor));
}

function nodeProto(
  op: string,
  inputs: readonly ValueName[],
  outputs: readonly ValueName[],
  attributes: Attributes,
  domain: string,
): ProtobufWriter {
  const node = new ProtobufWriter();
  for (const input of inputs) node.string(NODE.input, input);
  for (const output of outputs) node.string(NODE.output, output);
  node.string(NODE.op, op);
  for (const [name, value] of Object.entries(attributes)) {
    node.message(NODE.attribute, attributeProto(name, value));
  }
  if (domain !== '') node.string(NODE.domain, domain);
  return node;
}

function attributeProto(name: string, value: Attribute): ProtobufWriter {
  const attribute = new ProtobufWriter().string(ATTRIBUTE.name, name);
  if (typeof value === 'number') {
    return attribute.int(ATTRIBUTE.int, value).int(ATTRIBUTE.type, ATTRIBUTE_TYPE.int);
  }
  if (typeof value === 'string') {
    return attribute.string(ATTRIBUTE.string, value).int(ATTRIBUTE.type, ATTRIBUTE_TYPE.string);
  }
  if ('float' in value) {
    return attribute.float(ATTRIBUTE.float, value.float).int(ATTRIBUTE.type, ATTRIBUTE_TYPE.float);
  }
  // AttributeProto.ints is not packed in onnx.proto (proto2): one field per value.
  for (const item of value) attribute.int(ATTRIBUTE.ints, item);
  return attribute.int(ATTRIBUTE.type, ATTRIBUTE_TYPE.ints);
}
