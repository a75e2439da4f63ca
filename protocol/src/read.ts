/** @file Readers: an untrusted JSON value in, a typed fresh copy out, or an error that names the field. Not a schema language. */
import { RemoteProtocolError } from './errors.js';

/** Checks `value` found at `path` and returns a typed copy; throws RemoteProtocolError. */
export type Reader<T> = (value: unknown, path: string) => T;

/** One reader per field; a field without a reader does not compile. */
export type Fields<T> = { readonly [K in keyof T]-?: Reader<T[K]> };

function describe(value: unknown): string {
  if (typeof value === 'string') {
    return value.length > 40 ? `a string of ${String(value.length)} characters` : `"${value}"`;
  }
  if (Array.isArray(value)) return `an array of ${String(value.length)}`;
  if (typeof value === 'number' || typeof value === 'boolean') return String(value);
  return value === null ? 'null' : `a value of type ${typeof value}`;
}

export function reject(path: string, expected: string, value: unknown): never {
  throw new RemoteProtocolError(`${path}: expected ${expected}, got ${describe(value)}`);
}

/** A string of at most `maxChars` UTF-16 units. */
export function text(maxChars: number): Reader<string> {
  return (value, path) =>
    typeof value === 'string' && value.length <= maxChars
      ? value
      : reject(path, `a string of at most ${String(maxChars)} characters`, value);
}

/** A non-empty string of at most `maxChars` UTF-16 units. */
export function id(maxChars: number): Reader<string> {
  return (value, path) =>
    typeof value === 'string' && value.length > 0 && value.length <= maxChars
      ? value
      : reject(path, `an id of 1 to ${String(maxChars)} characters`, value);
}

/** An integer in [0, max]. */
export function count(max: number = Number.MAX_SAFE_INTEGER): Reader<number> {
  return (value, path) =>
    typeof value === 'number' && Number.isSafeInteger(value) && value >= 0 && value <= max
      ? value
      : reject(path, `an integer from 0 to ${String(max)}`, value);
}

export const finite: Reader<number> = (value, path) =>
  typeof value === 'number' && Number.isFinite(value)
    ? value
    : reject(path, 'a finite number', value);

/** A finite number that is not negative: a rate, a duration, a size. */
export const amountOf: Reader<number> = (value, path) =>
  typeof value === 'number' && Number.isFinite(value) && value >= 0
    ? value
    : reject(path, 'a finite number of at least 0', value);

export const flag: Reader<boolean> = (value, path) =>
  typeof value === 'boolean' ? value : reject(path, 'true or false', value);

/** Money: a non-negative integer of base units in decimal digits, as JSON has no bigint. */
export function baseUnits(maxDigits: number): Reader<string> {
  return (value, path) =>
    typeof value === 'string' && value.length <= maxDigits && /^(?:0|[1-9][0-9]*)$/.test(value)
      ? value
      : reject(path, `decimal base units of at most ${String(maxDigits)} digits`, value);
}

export function oneOf<const T extends string>(values: readonly T[]): Reader<T> {
  return (value, path) =>
    values.find((candidate) => candidate === value) ??
    reject(path, `one of ${values.join(', ')}`, value);
}

export function nullable<T>(reader: Reader<T>): Reader<T | null> {
  return (value, path) => (value === null ? null : reader(value, path));
}

/** An array of at most `maxItems`; its length is checked before any item is read. */
export function list<T>(reader: Reader<T>, maxItems: number): Reader<readonly T[]> {
  return (value, path) => {
    if (!Array.isArray(value) || value.length > maxItems) {
      return reject(path, `an array of at most ${String(maxItems)} items`, value);
    }
    return value.map((item: unknown, index) => reader(item, `${path}[${String(index)}]`));
  };
}

/** The value as a plain object; its own enumerable keys only are ever looked at. */
export function objectOf(value: unknown, path: string): Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
    ? (value as Record<string, unknown>)
    : reject(path, 'an object', value);
}

export function fieldNames<T>(fields: Fields<T>): readonly (keyof T & string)[] {
  return Object.keys(fields) as (keyof T & string)[];
}

/** All fields present and well formed; unknown fields are dropped, so that a newer peer may add some. */
export function record<T>(fields: Fields<T>): Reader<T> {
  const names = fieldNames(fields);
  return (value, path) => {
    const source = objectOf(value, path);
    const result: Partial<T> = {};
    for (const name of names) {
      const field = Object.hasOwn(source, name) ? source[name] : undefined;
      result[name] = fields[name](field, `${path}.${name}`);
    }
    return result as T;
  };
}

/** Any subset of the fields, each well formed. */
export function partial<T>(fields: Fields<T>): Reader<Partial<T>> {
  return (value, path) => {
    const source = objectOf(value, path);
    const result: Partial<T> = {};
    for (const name of fieldNames(fields)) {
      if (!Object.hasOwn(source, name)) continue;
      result[name] = fields[name](source[name], `${path}.${name}`);
    }
    return result;
  };
}
