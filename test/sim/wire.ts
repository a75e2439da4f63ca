/**
 * @file Simulated messages as the real ones: through the codec of the protocol and back. What the codec loses or changes
 * on the way shows as a wrong sum, a unit that nobody runs, or a worker that never gets what it asks for.
 */
import type {
  BlobChunk,
  BlockRef,
  Chunks,
  DoneUnit,
  EngineId,
  EngineToWorker,
  ExecutionId,
  ProgramHash,
  RunMessage,
  StateId,
  StateRef,
  WorkerId,
  WorkerToEngine,
} from '@ravenlab/protocol';
import {
  decodeEngineMessage,
  decodeWorkerMessage,
  encodeEngineMessage,
  encodeWorkerMessage,
  totalBytes,
} from '@ravenlab/protocol';
import type { DataId } from '@ravenlab/protocol';
import type { ResourceId } from '../../kernel/src/core/cluster/state.js';
import { SimViolation } from './context.js';
import type { SimResource, SimResult, SimRun, ToEngine, ToWorker } from './messages.js';
import {
  BLOCKS,
  PROGRAM,
  PROGRAM_BYTES,
  STATE_BYTES,
  blockResource,
  nameOf,
  stateResource,
} from './messages.js';

const STATE = 1 as StateId;
const HASH = 'ab'.repeat(32) as ProgramHash;
const ENGINE = 'sim' as EngineId;
const WORKER = '0'.repeat(64) as WorkerId;

const ZEROS = new Uint8Array(STATE_BYTES);
const ELEMENT_BYTES = 4;

const element = new Float32Array(1);
const elementBytes = new Uint8Array(element.buffer);

/** A tensor whose first element is `value`; the rest is zero. */
function tensor(value: number, sizeBytes: number): Uint8Array[] {
  element[0] = value;
  const first = elementBytes.slice();
  return sizeBytes === ELEMENT_BYTES
    ? [first]
    : [first, ZEROS.subarray(0, sizeBytes - ELEMENT_BYTES)];
}

function firstOf(chunks: Chunks): number {
  const [bytes] = chunks;
  for (let i = 0; i < ELEMENT_BYTES; i++) elementBytes[i] = bytes?.[i] ?? 0;
  return element[0] ?? Number.NaN;
}

interface Refs {
  readonly programs: number[];
  readonly states: StateRef[];
  readonly blocks: BlockRef[];
}

function refsOf(ids: readonly ResourceId[]): Refs {
  const refs: Refs = { programs: [], states: [], blocks: [] };
  for (const id of ids) {
    const name = nameOf(id);
    if (name.kind === 'program') refs.programs.push(0);
    else if (name.kind === 'state') refs.states.push({ stateId: STATE, version: name.version });
    else refs.blocks.push({ dataId: name.dataId, block: name.block });
  }
  return refs;
}

function idsOf(refs: {
  readonly programs: readonly unknown[];
  readonly states: readonly StateRef[];
  readonly blocks: readonly BlockRef[];
}): ResourceId[] {
  return [
    ...refs.programs.map(() => PROGRAM),
    ...refs.states.map(({ version }) => stateResource(version)),
    ...refs.blocks.map(({ dataId, block }) => blockResource(dataId, block)),
  ];
}

// -------------------------------------------------------------- engine to worker

function provided(resources: readonly SimResource[]): EngineToWorker[] {
  const messages: EngineToWorker[] = [];
  const chunks: BlobChunk[] = [];
  for (const { id, sizeBytes, value } of resources) {
    const name = nameOf(id);
    // The first piece of the tensor says how large all of it is; the rest would be zeros.
    const bytes = tensor(value, ELEMENT_BYTES);
    const totalBytes = sizeBytes;
    const offsetBytes = 0;
    if (name.kind === 'program') messages.push({ kind: 'program', index: 0, hash: HASH, bytes });
    else if (name.kind === 'block') {
      const { kind, dataId, block } = name;
      chunks.push({ kind, dataId, block, offsetBytes, totalBytes, bytes });
    } else {
      const { kind, version } = name;
      chunks.push({ kind, stateId: STATE, version, offsetBytes, totalBytes, bytes });
    }
  }
  if (chunks.length > 0) messages.push({ kind: 'blob', chunks });
  return messages;
}

function resourceOf(chunk: BlobChunk): SimResource {
  const value = firstOf(chunk.bytes);
  const { totalBytes: sizeBytes } = chunk;
  const id =
    chunk.kind === 'state'
      ? stateResource(chunk.version)
      : blockResource(chunk.dataId, chunk.block);
  return { id, sizeBytes, value };
}

function runMessage(run: SimRun): RunMessage {
  const units = run.groups.flat();
  const dataId = run.dataId as DataId;
  const indices = new Int32Array(units.length);
  for (const [index, { shard }] of units.entries()) indices[index] = shard % BLOCKS;
  const sizes = run.groups.map((group) => group.length);
  return {
    kind: 'run',
    execution: run.execution as ExecutionId,
    program: 0,
    leaseMs: run.leaseMs,
    inputs: [
      { kind: 'state', stateId: STATE, version: run.version as never },
      { kind: 'rows', dataId, dataRows: BLOCKS, blockRows: 1, perUnit: true, indices },
      { kind: 'key', seedLow: run.salt, seedHigh: 0, step: 0 },
    ],
    units,
    merge: sizes.some((size) => size > 1) ? { groups: sizes, sums: ['float32'] } : null,
  };
}

function simRun(message: RunMessage): SimRun {
  const [state, rows, key] = message.inputs;
  if (state?.kind !== 'state' || rows?.kind !== 'rows' || key?.kind !== 'key') {
    throw new SimViolation('codec: a RUN has other inputs than it was given');
  }
  let at = 0;
  const sizes = message.merge?.groups ?? message.units.map(() => 1);
  const groups = sizes.map((size) => message.units.slice(at, (at += size)));
  return {
    kind: 'run',
    execution: message.execution,
    salt: key.seedLow,
    version: state.version,
    dataId: rows.dataId,
    leaseMs: message.leaseMs,
    groups,
  };
}

function messagesToWorker(message: ToWorker): EngineToWorker[] {
  switch (message.kind) {
    case 'provide':
      return provided(message.resources);
    case 'run':
      return [runMessage(message)];
    case 'drop': {
      const { programs, states, blocks } = refsOf(message.resources);
      return [{ kind: 'drop', data: [], programs, states, blocks }];
    }
    case 'revoke':
      return [{ kind: 'cancel', executions: [], leases: message.leases }];
    case 'revokeExecution':
      return [{ kind: 'cancel', executions: [message.execution as ExecutionId], leases: [] }];
    case 'ping':
      return [{ kind: 'ping', seq: 1, sentMs: message.sentMs }];
  }
}

function fromEngine(messages: readonly EngineToWorker[]): ToWorker {
  const resources: SimResource[] = [];
  for (const message of messages) {
    switch (message.kind) {
      case 'program':
        resources.push({ id: PROGRAM, sizeBytes: PROGRAM_BYTES, value: 0 });
        break;
      case 'blob':
        resources.push(...message.chunks.map(resourceOf));
        break;
      case 'run':
        return simRun(message);
      case 'drop':
        return { kind: 'drop', resources: idsOf(message) };
      case 'cancel': {
        const [execution] = message.executions;
        return execution === undefined
          ? { kind: 'revoke', leases: message.leases }
          : { kind: 'revokeExecution', execution };
      }
      case 'ping':
        return { kind: 'ping', sentMs: message.sentMs };
      case 'welcome':
      case 'advance':
      case 'keep':
      case 'meter':
      case 'challenge':
      case 'terms':
      case 'voucher':
      case 'error':
      case 'bye':
        throw new SimViolation(`codec: ${message.kind} was never sent`);
    }
  }
  return { kind: 'provide', resources };
}

/** The message as the worker reads it. @throws SimViolation when the codec refuses what the engine says. */
export function encodeToWorker(message: ToWorker): ToWorker {
  const read = messagesToWorker(message).map((each) => {
    const decoded = decodeEngineMessage(encodeEngineMessage(each));
    if (!decoded.ok) throw new SimViolation(`codec: ${decoded.error.message}`);
    return decoded.value;
  });
  return fromEngine(read);
}

// -------------------------------------------------------------- worker to engine

function doneUnit(result: SimResult): DoneUnit {
  const { lease, computeUs, status, error, value, sizeBytes } = result;
  if (status === 'ok') {
    const outputs = [tensor(value, sizeBytes)];
    return { lease, computeUs, status, outputs, digest: null };
  }
  if (status === 'nonFinite') return { lease, computeUs, status, output: 0 };
  if (status === 'cancelled' || error === null) return { lease, computeUs, status: 'cancelled' };
  return { lease, computeUs, status, error };
}

function simResult(unit: DoneUnit): SimResult {
  const { lease, computeUs, status } = unit;
  const chunks = unit.status === 'ok' ? (unit.outputs?.[0] ?? []) : null;
  return {
    lease,
    computeUs,
    status,
    error: unit.status === 'failed' ? unit.error : null,
    value: chunks === null ? Number.NaN : firstOf(chunks),
    sizeBytes: chunks === null ? 0 : totalBytes(chunks),
  };
}

function messageToEngine(message: ToEngine): WorkerToEngine {
  switch (message.kind) {
    case 'hello': {
      const { states, blocks } = refsOf(message.held);
      return {
        kind: 'hello',
        workerId: WORKER,
        token: 'token',
        incarnation: message.incarnation,
        name: 'sim',
        capabilities: {
          backend: 'onnx-cpu',
          device: 'none',
          threads: 1,
          memoryBytes: 40_000,
          gflops: 10,
          dtypes: ['float32'],
          bitClass: 'sim',
        },
        payee: null,
        held: { engineId: ENGINE, programs: [], states, blocks },
      };
    }
    case 'done': {
      const units = message.results.map(doneUnit);
      const outputBytes = message.results
        .filter(({ status }) => status === 'ok')
        .slice(0, 1)
        .map(({ sizeBytes }) => sizeBytes);
      return { kind: 'done', execution: message.execution as ExecutionId, outputBytes, units };
    }
    case 'need': {
      const { programs, states, blocks } = refsOf(message.resources);
      return { kind: 'need', programs, states, blocks };
    }
    case 'credit':
      return { kind: 'credit', consumedBytes: 0 };
    case 'pong':
      return {
        kind: 'pong',
        seq: 1,
        sentMs: message.sentMs,
        queuedUnits: 0,
        busyMs: 0,
        heldBytes: 0,
      };
  }
}

function fromWorker(message: WorkerToEngine): ToEngine {
  switch (message.kind) {
    case 'hello': {
      const { incarnation, held } = message;
      return { kind: 'hello', incarnation, held: held === null ? [] : idsOf(held) };
    }
    case 'done':
      return {
        kind: 'done',
        execution: message.execution,
        results: message.units.map(simResult),
      };
    case 'need':
      return { kind: 'need', resources: idsOf(message) };
    case 'credit':
      return { kind: 'credit' };
    case 'pong':
      return { kind: 'pong', sentMs: message.sentMs };
    default:
      throw new SimViolation(`codec: ${message.kind} was never sent`);
  }
}

/** The message as the engine reads it. @throws SimViolation when the codec refuses what a worker says. */
export function encodeToEngine(message: ToEngine): ToEngine {
  const decoded = decodeWorkerMessage(encodeWorkerMessage(messageToEngine(message)));
  if (!decoded.ok) throw new SimViolation(`codec: ${decoded.error.message}`);
  return fromWorker(decoded.value);
}
