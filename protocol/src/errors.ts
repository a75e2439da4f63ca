/** @file The errors of RavenLab: one base, a code that is the contract, a message that says what to do. */

/** Whose mistake it was: the user's input, our own code, or the peer's message. */
export type Fault = 'user' | 'local' | 'remote';

/** Codes are wire contract: never reused, never renamed. Message text is not contract. */
export const ERROR_CODES = [
  'shape',
  'protocol',
  'limit',
  'program',
  'cluster',
  'data',
  'numeric',
  'autograd',
  'interrupted',
  'ledger',
  'chain',
  'internal',
] as const;
export type ErrorCode = (typeof ERROR_CODES)[number];

export type ErrorMeta = Readonly<Record<string, unknown>>;

/** Base of all errors that cross a boundary of RavenLab. */
export class RavenError extends Error {
  readonly code: ErrorCode;
  readonly fault: Fault;
  readonly retryable: boolean;
  readonly meta: ErrorMeta;

  constructor(
    code: ErrorCode,
    message: string,
    options: { fault?: Fault; retryable?: boolean; meta?: ErrorMeta; cause?: unknown } = {},
  ) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.name = 'RavenError';
    this.code = code;
    this.fault = options.fault ?? 'user';
    this.retryable = options.retryable ?? false;
    this.meta = options.meta ?? {};
  }
}

/** Shapes, axes or dtypes that an op cannot take. */
export class ShapeError extends RavenError {
  constructor(message: string, meta: ErrorMeta = {}) {
    super('shape', message, { meta });
    this.name = 'ShapeError';
  }
}

/** A frame or a program that breaks the protocol; always the sender's fault. */
export class RemoteProtocolError extends RavenError {
  constructor(message: string, meta: ErrorMeta = {}) {
    super('protocol', message, { fault: 'remote', meta });
    this.name = 'RemoteProtocolError';
  }
}

/** The cluster cannot do what was asked: no worker, run gone, weights version gone, stopped. */
export class ClusterError extends RavenError {
  constructor(
    message: string,
    options: { retryable?: boolean; meta?: ErrorMeta; cause?: unknown } = {},
  ) {
    super('cluster', message, options);
    this.name = 'ClusterError';
  }
}

/** A file or array that a data loader cannot take. */
export class DataError extends RavenError {
  constructor(message: string, options: { meta?: ErrorMeta; cause?: unknown } = {}) {
    super('data', message, options);
    this.name = 'DataError';
  }
}

/** The chain, or what stands on it, is not as expected: no answer, wrong id, refused transaction, unfit key. */
export class ChainError extends RavenError {
  constructor(
    message: string,
    options: { fault?: Fault; retryable?: boolean; meta?: ErrorMeta; cause?: unknown } = {},
  ) {
    super('chain', message, { fault: 'local', ...options });
    this.name = 'ChainError';
  }
}

/** A value that became NaN or infinite; names the step and the op. */
export class NumericError extends RavenError {
  constructor(message: string, meta: ErrorMeta = {}) {
    super('numeric', message, { meta });
    this.name = 'NumericError';
  }
}

/** A call on the autograd tape that makes no sense, like calling backward twice. */
export class AutogradError extends RavenError {
  constructor(message: string, meta: ErrorMeta = {}) {
    super('autograd', message, { meta });
    this.name = 'AutogradError';
  }
}

/** Plain form of an error for a message; `cause` and stacks never cross the wire. */
export interface WireError {
  readonly code: ErrorCode;
  readonly message: string;
  readonly fault: Fault;
  readonly retryable: boolean;
}

export function toWireError(error: unknown): WireError {
  if (error instanceof RavenError) {
    const { code, message, fault, retryable } = error;
    return { code, message, fault, retryable };
  }
  const message = error instanceof Error ? error.message : String(error);
  return { code: 'internal', message, fault: 'local', retryable: false };
}

export function fromWireError(error: WireError): RavenError {
  return new RavenError(error.code, error.message, {
    fault: error.fault,
    retryable: error.retryable,
  });
}
