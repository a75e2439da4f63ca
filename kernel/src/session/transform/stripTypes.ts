/** @file TypeScript to JavaScript without moving a character where that is possible. */

import { SourceMap } from 'node:module';
import { transformSync } from 'amaro';
import type { Position } from './patches.js';

/** A syntax error of a cell, at its place in the cell. */
export interface CellSyntaxError {
  readonly message: string;
  readonly position: Position;
  /** The cell may become valid by typing on: the error is that it ends too early. */
  readonly isIncomplete: boolean;
}

export type StripResult =
  | {
      readonly ok: true;
      readonly code: string;
      /** From a place in `code` to the place in the cell. */
      readonly toOriginal: (position: Position) => Position;
    }
  | { readonly ok: false; readonly error: CellSyntaxError };

interface SwcError {
  readonly code: string;
  readonly message: string;
  readonly startLine: number;
  readonly startColumn: number;
}

/**
 * Replaces types by blanks. Enums, namespaces, parameter properties and `import x = require()` need
 * code instead of blanks; such a cell is compiled, and places are mapped through its source map.
 */
export function stripTypes(source: string): StripResult {
  try {
    const { code } = transformSync(source, { mode: 'strip-only' });
    return { ok: true, code, toOriginal: (position) => position };
  } catch (error) {
    if (!isSwcError(error)) throw error;
    if (error.code !== 'UnsupportedSyntax') return { ok: false, error: toCellError(source, error) };
  }
  return compile(source);
}

function compile(source: string): StripResult {
  try {
    const { code, map } = transformSync(source, {
      mode: 'transform',
      sourceMap: true,
      // An import that only a later cell uses must stay.
      transform: { verbatimModuleSyntax: true, noEmptyExport: true },
    });
    return { ok: true, code, toOriginal: positionMapper(map) };
  } catch (error) {
    if (!isSwcError(error)) throw error;
    return { ok: false, error: toCellError(source, error) };
  }
}

function positionMapper(map: string | undefined): (position: Position) => Position {
  if (map === undefined) return (position) => position;
  const sourceMap = new SourceMap(JSON.parse(map) as ConstructorParameters<typeof SourceMap>[0]);
  return (position) => {
    const entry = sourceMap.findEntry(position.line - 1, position.column - 1);
    if (!('originalLine' in entry)) return position;
    return { line: entry.originalLine + 1, column: entry.originalColumn + 1 };
  };
}

function toCellError(source: string, error: SwcError): CellSyntaxError {
  const position = { line: error.startLine, column: error.startColumn + 1 };
  return { message: error.message, position, isIncomplete: endsTooEarly(source, error) };
}

function endsTooEarly(source: string, error: SwcError): boolean {
  if (/<eof>|Unexpected eof|Unterminated (template|block comment)/.test(error.message)) return true;
  if (error.message.startsWith('Unterminated')) return false;
  const lines = source.trimEnd().split('\n');
  const last = lines.at(-1) ?? '';
  // Swc reports a missing operand at the place behind the last character.
  return (
    error.startLine > lines.length ||
    (error.startLine === lines.length && error.startColumn >= last.length)
  );
}

function isSwcError(error: unknown): error is SwcError {
  return (
    typeof error === 'object' &&
    error !== null &&
    'startLine' in error &&
    typeof error.startLine === 'number' &&
    'message' in error
  );
}
