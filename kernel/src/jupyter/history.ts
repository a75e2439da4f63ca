/**
 * @file Input history across sessions: one append-only JSON-lines file, bounded; in memory only if
 * there is no file. Answers history_request.
 */

import { appendFileSync, mkdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { KERNEL_LIMITS } from '@ravenlab/protocol';
import type { JsonObject } from './wire.js';

/** One executed cell. */
export interface HistoryEntry {
  readonly session: number;
  readonly line: number;
  readonly input: string;
  /** `text/plain` of the result. */
  readonly output: string | null;
}

/** `[session, line, input]`, or `[session, line, [input, output]]`. */
type HistoryRow = [number, number, string | [string, string | null]];

/** Where history is kept and which session this is. */
export interface HistoryOptions {
  /** Absolute path; null keeps the history of this session only. */
  readonly path: string | null;
  /** Distinct for every kernel; ascending with time. */
  readonly session: number;
  readonly onError: (context: string, error: unknown) => void;
}

/** The history of one kernel session and of those before it. */
export class History {
  private readonly options: HistoryOptions;
  private entries: HistoryEntry[] | null = null;

  constructor(options: HistoryOptions) {
    this.options = options;
  }

  /** Notes an executed cell. */
  add(line: number, input: string, output: string | null): void {
    if (input.length > KERNEL_LIMITS.historyEntryChars) return;
    const { session } = this.options;
    const clipped = output?.slice(0, KERNEL_LIMITS.historyEntryChars) ?? null;
    const entry = { session, line, input, output: clipped };
    const entries = this.load();
    entries.push(entry);
    if (entries.length > KERNEL_LIMITS.historyEntries) entries.shift();
    this.append(entry);
  }

  /** Rows for a history_request; a request that makes no sense gets none. */
  query(content: JsonObject): HistoryRow[] {
    const withOutput = content['output'] === true;
    return this.select(content).map(({ session, line, input, output }) => [
      session,
      line,
      withOutput ? [input, output] : input,
    ]);
  }

  private select(content: JsonObject): HistoryEntry[] {
    const entries = this.load();
    const n = numberOr(content['n'], 0);
    switch (content['hist_access_type']) {
      case 'tail':
        return n > 0 ? entries.slice(-n) : entries;
      case 'range':
        return this.range(entries, content);
      case 'search': {
        const found = search(entries, content);
        return n > 0 ? found.slice(-n) : found;
      }
      default:
        return [];
    }
  }

  /** Session 0 is this one, -1 the one before it. */
  private range(entries: readonly HistoryEntry[], content: JsonObject): HistoryEntry[] {
    const wanted = numberOr(content['session'], 0);
    const sessions = [...new Set(entries.map((entry) => entry.session))];
    const earlier = sessions.filter((one) => one !== this.options.session);
    const session =
      wanted === 0 ? this.options.session : wanted < 0 ? (earlier.at(wanted) ?? NaN) : wanted;
    const start = numberOr(content['start'], 0);
    const stop = numberOr(content['stop'], Infinity);
    return entries.filter(
      (entry) => entry.session === session && entry.line >= start && entry.line < stop,
    );
  }

  private load(): HistoryEntry[] {
    this.entries ??= this.read();
    return this.entries;
  }

  private read(): HistoryEntry[] {
    const { path } = this.options;
    if (path === null) return [];
    try {
      const lines = readFileSync(path, 'utf8').split('\n');
      return lines.flatMap(parseEntry).slice(-KERNEL_LIMITS.historyEntries);
    } catch (error) {
      if (!isMissing(error)) this.options.onError('reading the history', error);
      return [];
    }
  }

  private append(entry: HistoryEntry): void {
    const { path } = this.options;
    if (path === null) return;
    try {
      mkdirSync(dirname(path), { recursive: true });
      this.compactIfLarge(path);
      appendFileSync(path, `${JSON.stringify(entry)}\n`, { mode: 0o600 });
    } catch (error) {
      this.options.onError('writing the history', error);
    }
  }

  private compactIfLarge(path: string): void {
    const stats = statSync(path, { throwIfNoEntry: false });
    if (!stats || stats.size < KERNEL_LIMITS.historyBytes) return;
    const entries = this.read();
    const kept = entries.slice(-Math.floor(KERNEL_LIMITS.historyEntries / 2));
    writeFileSync(path, kept.map((one) => `${JSON.stringify(one)}\n`).join(''), { mode: 0o600 });
  }
}

function search(entries: readonly HistoryEntry[], content: JsonObject): HistoryEntry[] {
  const pattern = typeof content['pattern'] === 'string' ? content['pattern'] : '*';
  const glob = pattern.slice(0, KERNEL_LIMITS.historyPatternChars);
  const found = entries.filter((entry) => matchesGlob(entry.input, glob));
  if (content['unique'] !== true) return found;
  const newest = new Map<string, HistoryEntry>();
  for (const entry of found) {
    newest.delete(entry.input);
    newest.set(entry.input, entry);
  }
  return [...newest.values()];
}

/** `*` and `?` as in a shell, in time proportional to both lengths: a hostile pattern cannot backtrack. */
function matchesGlob(text: string, glob: string): boolean {
  let textAt = 0;
  let globAt = 0;
  /** The last star, and how much of the text it has swallowed so far. */
  let starAt = -1;
  let starText = 0;
  while (textAt < text.length) {
    const wanted = glob[globAt];
    if (wanted === '*') {
      starAt = globAt++;
      starText = textAt;
    } else if (wanted === '?' || wanted === text[textAt]) {
      globAt += 1;
      textAt += 1;
    } else if (starAt >= 0) {
      globAt = starAt + 1;
      textAt = ++starText;
    } else {
      return false;
    }
  }
  while (glob[globAt] === '*') globAt += 1;
  return globAt === glob.length;
}

function parseEntry(text: string): HistoryEntry[] {
  if (text === '') return [];
  try {
    const value = JSON.parse(text) as Partial<HistoryEntry>;
    const { session, line, input, output = null } = value;
    const isValid =
      typeof session === 'number' && typeof line === 'number' && typeof input === 'string';
    return isValid ? [{ session, line, input, output }] : [];
  } catch {
    return []; // A line that a crash cut short.
  }
}

function numberOr(value: unknown, fallback: number): number {
  return typeof value === 'number' && Number.isFinite(value) ? value : fallback;
}

function isMissing(error: unknown): boolean {
  return typeof error === 'object' && error !== null && 'code' in error && error.code === 'ENOENT';
}
