/**
 * @file Canonical bytes of a program: equal programs have equal bytes, so that their SHA-256 names them. Types of nodes
 * are not in it; the decoder infers them, which is also how it verifies. RFC 1 §5.
 */
import type { DType } from './dtype.js';
import { DTYPES } from './dtype.js';
import { RavenError } from './errors.js';
import { LIMITS } from './limits.js';
import type { FieldKind, FieldTypes } from './ops/row.js';
import type { AnyParams, OpName } from './ops/table.js';
import { OP_NAMES, opRow } from './ops/table.js';
import type { Program, ProgramNode } from './program.js';
import { inferNode, IR_VERSION, verifyCounts, verifyOutputs, verifyType } from './program.js';
import type { TensorType } from './shape.js';
import type { Decoded } from './words.js';
import { decoded, WordReader, wordsOf, WordWriter } from './words.js';

/** 'RVIR', little-endian. */
const MAGIC = 0x52495652;
const WHAT = 'malformed program';
/** op, number of inputs. */
const NODE_WORDS = 2;
/** dtype, rank. */
const TYPE_WORDS = 2;

type FieldValue = FieldTypes[FieldKind];

interface OpCode {
  readonly code: number;
  /** Name and kind of each parameter, in wire order. */
  readonly fields: readonly (readonly [string, FieldKind])[];
}
const OP_CODES: ReadonlyMap<OpName, OpCode> = new Map(
  OP_NAMES.map((op, code) => [op, { code, fields: Object.entries(opRow(op).params) }]),
);

const WRITE: {
  readonly [K in FieldKind]: (out: WordWriter, name: string, value: FieldTypes[K]) => void;
} = {
  int: (out, name, value) => out.int(name, value),
  ints: (out, name, value) => {
    out.range(name, value.length, 0, LIMITS.paramInts);
    for (const item of value) out.int(name, item);
  },
  float: (out, name, value) => out.float(name, value),
  bool: (out, name, value) => out.flag(name, value),
  dtype: (out, name, value) => out.code<DType>(name, value, DTYPES),
};

const READ: { readonly [K in FieldKind]: (input: WordReader, name: string) => FieldTypes[K] } = {
  int: (input, name) => input.int(name),
  ints: (input, name) => input.ints(name, LIMITS.paramInts),
  float: (input, name) => input.float(name),
  bool: (input, name) => input.flag(name),
  dtype: (input, name) => input.code<DType>(name, DTYPES),
};

export function writeType(out: WordWriter, type: TensorType): void {
  out.code<DType>('dtype', type.dtype, DTYPES);
  out.range('rank', type.shape.length, 0, LIMITS.tensorRank);
  for (const extent of type.shape) out.natural('extent', extent);
}

/** A type within bounds. @throws RemoteProtocolError */
export function readType(input: WordReader, what: string, index: number): TensorType {
  const dtype = input.code<DType>('dtype', DTYPES);
  const shape = input.ints('shape', LIMITS.tensorRank);
  const type = { dtype, shape };
  verifyType(what, index, type);
  return type;
}

/**
 * The bytes whose SHA-256 is the program's hash. The program must have passed its ops' shape rules.
 * @throws RavenError `limit` when a bound of LIMITS or the int32 range is exceeded, `internal` when a parameter is missing
 */
export function encodeProgram(program: Program): Uint8Array {
  const out = new WordWriter('program', LIMITS.programBytes / 4);
  const { inputs, nodes, outputs } = program;
  out.int('magic', MAGIC);
  out.int('IR version', IR_VERSION);
  out.range('inputs', inputs.length, 0, LIMITS.programInputs);
  out.range('nodes', nodes.length, 0, LIMITS.programNodes);
  out.range('outputs', outputs.length, 1, LIMITS.programOutputs);
  for (const type of inputs) writeType(out, type);
  for (const node of nodes) writeNode(out, node);
  for (const id of outputs) out.natural('output', id);
  return out.finish();
}

function writeNode(out: WordWriter, node: ProgramNode): void {
  const op = OP_CODES.get(node.op);
  if (op === undefined) out.refuse(`op: ${node.op} has no code`);
  out.int('op', op.code);
  out.range('node inputs', node.inputs.length, 0, LIMITS.nodeInputs);
  for (const id of node.inputs) out.natural('node input', id);
  for (const [name, kind] of op.fields) {
    const value = node.params[name];
    if (value === undefined) {
      throw new RavenError('internal', `${node.op}: parameter ${name} is missing`, {
        fault: 'local',
      });
    }
    // The kind says which member of the union the value is; the writers check it again.
    const write = WRITE[kind] as (out: WordWriter, name: string, value: FieldValue) => void;
    write(out, name, value);
  }
}

/** The verified program (see verifyProgram) that `bytes` encode, or why they encode none. Never throws on bytes. */
export function decodeProgram(bytes: Uint8Array): Decoded<Program> {
  return decoded(() => readProgram(bytes));
}

function readProgram(bytes: Uint8Array): Program {
  const input = new WordReader(new Int32Array(0), WHAT);
  if (bytes.byteLength > LIMITS.programBytes) {
    input.refuse(`${String(bytes.byteLength)} bytes, at most ${String(LIMITS.programBytes)}`);
  }
  return readProgramWords(new WordReader(wordsOf(bytes, WHAT), WHAT));
}

function readProgramWords(input: WordReader): Program {
  if (input.int('magic') !== MAGIC) input.refuse('does not start with RVIR');
  const version = input.int('IR version');
  if (version !== IR_VERSION) {
    input.refuse(
      `IR version ${String(version)}, this side speaks ${String(IR_VERSION)}; use equal releases of RavenLab`,
    );
  }
  const inputCount = input.count('inputs', LIMITS.programInputs, TYPE_WORDS);
  const nodeCount = input.count('nodes', LIMITS.programNodes, NODE_WORDS);
  const outputCount = input.count('outputs', LIMITS.programOutputs, 1);
  verifyCounts(inputCount, nodeCount, outputCount);
  const types: TensorType[] = [];
  for (let i = 0; i < inputCount; i++) types.push(readType(input, 'input', i));
  const inputs = types.slice();
  const nodes: ProgramNode[] = [];
  for (let i = 0; i < nodeCount; i++) {
    const node = readNode(input);
    const type = inferNode(node, i, types, inputCount);
    nodes.push({ ...node, type });
    types.push(type);
  }
  const outputs = Array.from({ length: outputCount }, () => input.natural('output'));
  verifyOutputs(outputs, types.length);
  input.end();
  return { inputs, nodes, outputs };
}

function readNode(input: WordReader): Omit<ProgramNode, 'type'> {
  const op = input.code('op', OP_NAMES);
  const inputs = input.ints('node inputs', LIMITS.nodeInputs);
  const params: Record<string, AnyParams[string]> = {};
  for (const [name, kind] of OP_CODES.get(op)?.fields ?? []) {
    params[name] = READ[kind](input, name);
  }
  return { op, inputs, params };
}
