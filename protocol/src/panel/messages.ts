/** @file Messages of the comm target `ravenlab.cluster.v1`, their readers, and the kernel-side source. No transport. RFC 2 §3. */
import { RemoteProtocolError } from '../errors.js';
import { PANEL_LIMITS as LIMITS } from '../limits.js';
import type { PanelPatch } from './patch.js';
import { readPanelPatch } from './patch.js';
import type { Fields, Reader } from '../read.js';
import {
  amountOf,
  baseUnits,
  count,
  flag,
  id,
  nullable,
  objectOf,
  oneOf,
  record,
  text,
} from '../read.js';
import type { SpendLimits } from './payments.js';
import { LIMITS_FIELDS } from './payments.js';
import type { AlertLevel, PanelState } from './state.js';
import { ALERT_LEVELS, readPanelState } from './state.js';

export const PANEL_TARGET = 'ravenlab.cluster.v1';
export const PANEL_PROTO = 3;
/** `kernel_info_reply.implementation` and kernelspec name that promise this target. */
export const PANEL_KERNEL = 'ravenlab';

export const PANEL_OPS = [
  'stopRun',
  'invite',
  'scale',
  'drain',
  'pause',
  'resume',
  'ban',
  'settle',
  'deposit',
  'refund',
  'extend',
  'setLimits',
  'exportLedger',
] as const;
export type PanelOp = (typeof PANEL_OPS)[number];

/** No arguments: always `{}`. */
export type NoArgs = Readonly<Record<string, never>>;

/** `csv`: the lines that are hashed. `json`: the same with the vouchers and what they are signed for. */
export const EXPORT_FORMATS = ['csv', 'json'] as const;
export type ExportFormat = (typeof EXPORT_FORMATS)[number];

/** A transaction that cannot be lost any more; how it goes on is in `payments.transactions`. */
export interface Sent {
  /** Its id there; null when there was nothing to do. */
  readonly transaction: number | null;
}

export interface PanelArgs {
  /** Stops the run that the job section shows; variables and weights stay. */
  readonly stopRun: NoArgs;
  readonly invite: NoArgs;
  /** Number of local workers wanted. */
  readonly scale: { readonly workers: number };
  /** The worker ends what it has and gets nothing new. */
  readonly drain: { readonly workerId: string };
  /** The worker stops now; what it has goes to others. Holds when it comes back. */
  readonly pause: { readonly workerId: string };
  /** Undoes `drain` and `pause`. */
  readonly resume: { readonly workerId: string };
  /** The worker is sent away and not let in again. */
  readonly ban: { readonly workerId: string };
  /** Pays every lane now what its newest voucher says. */
  readonly settle: NoArgs;
  /** Moves base units of the payer's into the job. Only where the engine can sign for the payer, as the three below. */
  readonly deposit: { readonly amount: string };
  /** Takes back what is free and, a day after the expiry, what is reserved. */
  readonly refund: NoArgs;
  /** Unix ms; never earlier than it is. */
  readonly extend: { readonly expiryMs: number };
  readonly setLimits: SpendLimits;
  /** `cursor`: null for the first part, then what the part before gave. */
  readonly exportLedger: { readonly format: ExportFormat; readonly cursor: string | null };
}

export interface PanelResults {
  /** False when nothing ran. */
  readonly stopRun: { readonly stopped: boolean };
  /** The command to run on another machine; holds a secret, so it is never stored. */
  readonly invite: { readonly command: string; readonly expiresAtMs: number | null };
  readonly scale: { readonly workers: number };
  readonly drain: { readonly workerId: string };
  readonly pause: { readonly workerId: string };
  readonly resume: { readonly workerId: string };
  readonly ban: { readonly workerId: string };
  readonly settle: Sent;
  readonly deposit: Sent;
  readonly refund: Sent;
  readonly extend: Sent;
  readonly setLimits: SpendLimits;
  /** The parts in order make the file; `cursor` is null with the last one. */
  readonly exportLedger: { readonly text: string; readonly cursor: string | null };
}

/** What the engine side implements; the panel needs nothing else of it. */
export interface PanelSource {
  /** The current state, immutable; cheap, called at most at the push rate. */
  state(): PanelState;
  /** Calls back after any change, as often as it likes; returns the unsubscriber. */
  onChange(listener: () => void): () => void;
  /** Does it, or rejects with a RavenError whose message is fit to show. */
  // eslint-disable-next-line no-restricted-syntax -- a type for the I/O side to implement; nothing here awaits it
  command<Op extends PanelOp>(op: Op, args: PanelArgs[Op]): Promise<PanelResults[Op]>;
}

export interface PanelOpen {
  readonly type: 'open';
  readonly proto: number;
  readonly maxHz: number;
  readonly visible: boolean;
}

/** Also says when the panel is hidden or shown; any message but `cmd` renews the lease. */
export interface PanelLease {
  readonly type: 'lease';
  readonly maxHz: number;
  readonly visible: boolean;
}

/** Asks for a snapshot after a gap. */
export interface PanelResync {
  readonly type: 'resync';
}

export type PanelCmd = {
  readonly [Op in PanelOp]: {
    readonly type: 'cmd';
    /** Random, unique; a repeat gets the first reply again and runs nothing. */
    readonly id: string;
    readonly op: Op;
    readonly args: PanelArgs[Op];
  };
}[PanelOp];

export type FrontMessage = PanelOpen | PanelLease | PanelResync | PanelCmd;

/** Numbers of one stream are consecutive; a new stream begins with a snapshot. */
interface Sequenced {
  readonly stream: number;
  readonly seq: number;
  /** The kernel's clock when it sent this. */
  readonly atMs: number;
}

export interface PanelSnapshot extends Sequenced {
  readonly type: 'snapshot';
  readonly state: PanelState;
}

export interface PanelDelta extends Sequenced {
  readonly type: 'delta';
  readonly patch: PanelPatch;
}

export interface PanelEvent {
  readonly type: 'event';
  readonly level: AlertLevel;
  readonly code: string;
  readonly text: string;
}

/** `value` is for the op of that `id`: read it with `readPanelResult`. */
export type PanelResult =
  | { readonly type: 'result'; readonly id: string; readonly ok: true; readonly value: unknown }
  | {
      readonly type: 'result';
      readonly id: string;
      readonly ok: false;
      readonly error: { readonly code: string; readonly text: string };
    };

export type KernelMessage = PanelSnapshot | PanelDelta | PanelEvent | PanelResult;

/** A message, or why the bytes are none. */
export type Parsed<T> =
  { readonly ok: true; readonly value: T } | { readonly ok: false; readonly error: string };

const workerIdOf = id(LIMITS.idChars);
const noArgs: Reader<NoArgs> = () => ({});
const workerArgs = record<{ readonly workerId: string }>({ workerId: workerIdOf });
const workersArgs = record<{ readonly workers: number }>({
  workers: count(LIMITS.workersPerScale),
});

const money = baseUnits(LIMITS.amountDigits);
const cursor = nullable(text(LIMITS.cursorChars));
const sent = record<Sent>({ transaction: nullable(count()) });
const limits = record(LIMITS_FIELDS);

const ARGS: { readonly [Op in PanelOp]: Reader<PanelArgs[Op]> } = {
  stopRun: noArgs,
  invite: noArgs,
  scale: workersArgs,
  drain: workerArgs,
  pause: workerArgs,
  resume: workerArgs,
  ban: workerArgs,
  settle: noArgs,
  deposit: record<PanelArgs['deposit']>({ amount: money }),
  refund: noArgs,
  extend: record<PanelArgs['extend']>({ expiryMs: count() }),
  setLimits: limits,
  exportLedger: record<PanelArgs['exportLedger']>({ format: oneOf(EXPORT_FORMATS), cursor }),
};

const RESULTS: { readonly [Op in PanelOp]: Reader<PanelResults[Op]> } = {
  stopRun: record<PanelResults['stopRun']>({ stopped: flag }),
  invite: record<PanelResults['invite']>({
    command: text(LIMITS.commandChars),
    expiresAtMs: nullable(count()),
  }),
  scale: workersArgs,
  drain: workerArgs,
  pause: workerArgs,
  resume: workerArgs,
  ban: workerArgs,
  settle: sent,
  deposit: sent,
  refund: sent,
  extend: sent,
  setLimits: limits,
  exportLedger: record<PanelResults['exportLedger']>({ text: text(LIMITS.exportChars), cursor }),
};

/** Arguments of `op` as a front end or a cell must send them; throws RemoteProtocolError. */
export function readPanelArgs<Op extends PanelOp>(op: Op, value: unknown): PanelArgs[Op] {
  return ARGS[op](value, op);
}

/** Result of `op` as the kernel must send it; throws RemoteProtocolError. */
export function readPanelResult<Op extends PanelOp>(op: Op, value: unknown): PanelResults[Op] {
  return RESULTS[op](value, `result of ${op}`);
}

const rateFields = { maxHz: amountOf, visible: flag };
const sequence: Fields<Sequenced> = { stream: count(), seq: count(), atMs: count() };

function tagged<Type extends string, T>(type: Type, fields: Fields<T>): Reader<T & { type: Type }> {
  const read = record(fields);
  return (value, path) => ({ ...read(value, path), type });
}

const readOp = oneOf(PANEL_OPS);

const readCmd: Reader<PanelCmd> = (value, path) => {
  const source = objectOf(value, path);
  const op = readOp(source['op'], `${path}.op`);
  const args = ARGS[op](source['args'], `${path}.args`);
  return { type: 'cmd', id: workerIdOf(source['id'], `${path}.id`), op, args } as PanelCmd;
};

const readError = record<{ readonly code: string; readonly text: string }>({
  code: id(LIMITS.idChars),
  text: text(LIMITS.textChars),
});

const readResult: Reader<PanelResult> = (value, path) => {
  const source = objectOf(value, path);
  const commandId = workerIdOf(source['id'], `${path}.id`);
  return flag(source['ok'], `${path}.ok`)
    ? { type: 'result', id: commandId, ok: true, value: source['value'] }
    : { type: 'result', id: commandId, ok: false, error: readError(source['error'], path) };
};

const FRONT: Readonly<Record<FrontMessage['type'], Reader<FrontMessage>>> = {
  open: tagged('open', { proto: count(), ...rateFields }),
  lease: tagged('lease', rateFields),
  resync: () => ({ type: 'resync' }),
  cmd: readCmd,
};

const KERNEL: Readonly<Record<KernelMessage['type'], Reader<KernelMessage>>> = {
  snapshot: tagged('snapshot', { ...sequence, state: readPanelState }),
  delta: tagged('delta', { ...sequence, patch: readPanelPatch }),
  event: tagged('event', {
    level: oneOf(ALERT_LEVELS),
    code: id(LIMITS.idChars),
    text: text(LIMITS.textChars),
  }),
  result: readResult,
};

function parse<T, Type extends string>(
  readers: Readonly<Record<Type, Reader<T>>>,
  value: unknown,
): Parsed<T> {
  try {
    const readType = oneOf(Object.keys(readers) as Type[]);
    const type = readType(objectOf(value, 'message')['type'], 'message.type');
    return { ok: true, value: readers[type](value, type) };
  } catch (error) {
    if (error instanceof RemoteProtocolError) return { ok: false, error: error.message };
    throw error;
  }
}

/** Reads what a front end sent; never throws, never keeps a reference into `value`. */
export function parseFrontMessage(value: unknown): Parsed<FrontMessage> {
  return parse(FRONT, value);
}

/** Reads what a kernel sent; never throws. */
export function parseKernelMessage(value: unknown): Parsed<KernelMessage> {
  return parse(KERNEL, value);
}
