/** @file Errors of cells as Jupyter shows them: right line of the right cell, a code frame, no internals. */

import { KERNEL_LIMITS } from '@ravenlab/protocol';
import type { CapturedError } from '../session/threadMessages.js';
import type { Position } from '../session/transform/patches.js';

/** What the traceback knows of a cell that ran. */
export interface CellSource {
  readonly source: string;
  readonly toOriginal: (position: Position) => Position;
}

/** Finds a cell by the filename in a stack, e.g. `cell[3].ts`. */
export type SourceLookup = (filename: string) => CellSource | undefined;

/** Content of an `error` message and of an execute_reply with status error. */
export interface ErrorContent extends Record<string, unknown> {
  readonly ename: string;
  readonly evalue: string;
  readonly traceback: string[];
}

interface Frame {
  /** Function name; empty at the top level of a cell. */
  readonly label: string;
  readonly filename: string;
  readonly position: Position;
}

const RED = '\u001b[1;31m';
const CYAN = '\u001b[36m';
const RESET = '\u001b[0m';

const CELL_NAME = /^cell\[[^\]]*\]\.ts$/;
const FRAME = /^\s+at (?:async (?=\S+$))?(?:(.*?) \()?((?:file:\/\/)?[^()]*?):(\d+):(\d+)\)?$/;
/** V8 puts the place of a syntax error above the message. */
const SYNTAX_PLACE = /^(cell\[[^\]]*\]\.ts):(\d+)\n.*\n( *)\^/;
/** Frames of Node and of this kernel (in `internalDirs`) say nothing about the notebook. */
const NODE_INTERNAL = /^(node:|evalmachine|<anonymous>)/;

/** Builds the `error` content of what a cell threw. */
export function formatError(
  error: CapturedError,
  lookup: SourceLookup,
  internalDirs: readonly string[],
): ErrorContent {
  const lines: string[] = [];
  for (let current: CapturedError | null = error; current; current = current.cause) {
    const title = `${RED}${current.name}${RESET}: ${current.message}`;
    if (lines.length > 0) lines.push(`${CYAN}Caused by:${RESET}`);
    lines.push(title, ...describeFrames(framesOf(current, lookup, internalDirs), lookup));
  }
  return { ename: error.name, evalue: error.message, traceback: lines };
}

/** Builds the `error` content of a cell that does not parse. */
export function formatSyntaxError(
  message: string,
  position: Position,
  cell: { filename: string; source: string },
): ErrorContent {
  const frame = { label: '', filename: cell.filename, position };
  const lookup = (): CellSource => ({ source: cell.source, toOriginal: (same) => same });
  return {
    ename: 'SyntaxError',
    evalue: message,
    traceback: [`${RED}SyntaxError${RESET}: ${message}`, ...describeFrames([frame], lookup)],
  };
}

function describeFrames(frames: readonly Frame[], lookup: SourceLookup): string[] {
  const lines: string[] = [];
  const inCell = frames.find((frame) => lookup(frame.filename) !== undefined);
  const source = inCell && lookup(inCell.filename)?.source;
  if (inCell && source !== undefined) {
    lines.push(`${CYAN}${placeOf(inCell)}${RESET}`, codeFrame(source, inCell.position));
  }
  // A single frame is what the code frame already shows.
  if (frames.length > 1 || !inCell) {
    for (const frame of frames.slice(0, KERNEL_LIMITS.tracebackFrames)) {
      lines.push(
        frame.label ? `    at ${frame.label} (${placeOf(frame)})` : `    at ${placeOf(frame)}`,
      );
    }
  }
  return lines;
}

function placeOf({ filename, position }: Frame): string {
  return `${filename}:${position.line}:${position.column}`;
}

function codeFrame(source: string, { line, column }: Position): string {
  const lines = source.split('\n');
  const first = Math.max(1, line - KERNEL_LIMITS.codeFrameLines);
  const last = Math.min(lines.length, line + KERNEL_LIMITS.codeFrameLines);
  const width = String(last).length;
  const shown: string[] = [];
  for (let number = first; number <= last; number++) {
    const text = lines[number - 1] ?? '';
    const gutter = String(number).padStart(width);
    const isError = number === line;
    shown.push(`${isError ? `${RED}>${RESET}` : ' '} ${gutter} | ${text}`);
    if (isError) {
      // Tabs keep the caret under the character.
      const indent = text.slice(0, column - 1).replace(/[^\t]/g, ' ');
      shown.push(`  ${' '.repeat(width)} | ${indent}${RED}^${RESET}`);
    }
  }
  return shown.join('\n');
}

function framesOf(
  error: CapturedError,
  lookup: SourceLookup,
  internalDirs: readonly string[],
): Frame[] {
  const syntax = SYNTAX_PLACE.exec(error.stack);
  if (syntax) {
    const [, filename = '', line = '1', indent = ''] = syntax;
    const found = toFrame('', filename, { line: Number(line), column: indent.length + 1 }, lookup);
    return found ? [found] : [];
  }
  const frames: Frame[] = [];
  for (const text of error.stack.split('\n')) {
    const match = FRAME.exec(text);
    if (!match) continue;
    const [, label = '', filename = '', line = '1', column = '1'] = match;
    const isInternal = internalDirs.some((directory) => filename.includes(directory));
    if (NODE_INTERNAL.test(filename) || isInternal) continue;
    const position = { line: Number(line), column: Number(column) };
    const frame = toFrame(label, filename, position, lookup);
    if (frame) frames.push(frame);
  }
  return frames;
}

function toFrame(
  label: string,
  filename: string,
  position: Position,
  lookup: SourceLookup,
): Frame | null {
  if (!CELL_NAME.test(filename)) return { label, filename, position };
  const cell = lookup(filename);
  if (!cell) return { label, filename, position };
  // The call that starts the cell's body stands on a line of its own behind the cell.
  const original = cell.toOriginal(position);
  if (original.line > cell.source.split('\n').length) return null;
  const isTopLevel = /^(async )?(<anonymous>|eval)?$/.test(label);
  return { label: isTopLevel ? '' : label.replace(/^Object\./, ''), filename, position: original };
}
