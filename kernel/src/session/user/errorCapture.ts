/** @file Any thrown value as clonable data; must survive hostile getters. No formatting. */

import { inspect } from 'node:util';
import { KERNEL_LIMITS } from '@ravenlab/protocol';
import type { CapturedError } from '../threadMessages.js';
import { isInterruptError } from './cellScope.js';

/** Captures what user code threw. */
export function captureError(thrown: unknown, depth = 0): CapturedError {
  try {
    return isError(thrown) ? captureErrorObject(thrown, depth) : captureValue(thrown);
  } catch {
    return plain('Error', 'the thrown value cannot be described: its own getters throw');
  }
}

function captureErrorObject(error: Error, depth: number): CapturedError {
  const hasCause = error.cause !== undefined && depth < KERNEL_LIMITS.errorCauses;
  return {
    name: clip(textOf(error.name)),
    message: clip(describe(error)),
    stack: clip(typeof error.stack === 'string' ? error.stack : ''),
    cause: hasCause ? captureError(error.cause, depth + 1) : null,
    isInterrupt: isInterruptError(error),
  };
}

function describe(error: Error): string {
  const message = textOf(error.message);
  if (!('errors' in error) || !Array.isArray(error.errors)) return message;
  const inner = error.errors.slice(0, KERNEL_LIMITS.errorCauses).map((one) => `  - ${String(one)}`);
  return [message, ...inner].join('\n');
}

function captureValue(value: unknown): CapturedError {
  const kind = value === null ? 'null' : typeof value;
  return plain(
    'Thrown',
    `${inspect(value, { depth: 2 })} (${kind}; throw an Error to get a stack)`,
  );
}

/** Name and message of an error are whatever the program has put there. */
function textOf(value: unknown): string {
  return typeof value === 'string' ? value : inspect(value);
}

function plain(name: string, message: string): CapturedError {
  return { name, message: clip(message), stack: '', cause: null, isInterrupt: false };
}

function isError(value: unknown): value is Error {
  if (value instanceof Error) return true;
  // An error of another realm, e.g. of a vm context.
  return Object.prototype.toString.call(value) === '[object Error]';
}

function clip(text: string): string {
  return text.length <= KERNEL_LIMITS.errorChars
    ? text
    : `${text.slice(0, KERNEL_LIMITS.errorChars)}… (${text.length} characters)`;
}
