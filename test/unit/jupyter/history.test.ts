/** @file Input history: what history_request finds, and that the file is bounded and survives damage. */

import {
  appendFileSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { KERNEL_LIMITS } from '@ravenlab/protocol';
import { History } from '../../../kernel/src/jupyter/history.js';

describe('History', () => {
  let directory: string;
  let path: string;
  const errors: unknown[] = [];
  const open = (session: number, file: string | null = path): History =>
    new History({ path: file, session, onError: (context) => errors.push(context) });
  beforeEach(() => {
    directory = mkdtempSync(join(tmpdir(), 'ravenlab-history-'));
    path = join(directory, 'deep', 'history.jsonl');
    errors.length = 0;
  });
  afterEach(() => rmSync(directory, { recursive: true, force: true }));

  it('finds the tail across sessions, with outputs if asked', () => {
    open(1).add(1, 'a', '1');
    const second = open(2);
    second.add(1, 'b', null);
    expect(second.query({ hist_access_type: 'tail', n: 2 })).toEqual([
      [1, 1, 'a'],
      [2, 1, 'b'],
    ]);
    expect(second.query({ hist_access_type: 'tail', n: 1, output: true })).toEqual([
      [2, 1, ['b', null]],
    ]);
  });

  it('finds ranges of this and of earlier sessions', () => {
    open(1).add(1, 'old', null);
    const history = open(2);
    for (const [line, input] of [
      [1, 'a'],
      [2, 'b'],
      [3, 'c'],
    ] as const)
      history.add(line, input, null);
    const range = (session: number): unknown[] =>
      history.query({ hist_access_type: 'range', session, start: 1, stop: 3 });
    expect(range(0)).toEqual([
      [2, 1, 'a'],
      [2, 2, 'b'],
    ]);
    expect(range(2)).toEqual(range(0));
    expect(range(-1)).toEqual([[1, 1, 'old']]);
    expect(range(-5)).toEqual([]);
  });

  it('searches with stars and question marks, uniquely if asked', () => {
    const history = open(1);
    for (const [line, input] of ['ab', 'axb', 'ab', 'b.c'].entries())
      history.add(line, input, null);
    const search = (pattern: string, extra = {}): unknown[] =>
      history.query({ hist_access_type: 'search', pattern, ...extra }).map((row) => row[2]);
    expect(search('a*b')).toEqual(['ab', 'axb', 'ab']);
    expect(search('a?b')).toEqual(['axb']);
    expect(search('b.c')).toEqual(['b.c']);
    expect(search('*', { unique: true })).toEqual(['axb', 'ab', 'b.c']);
    expect(search('*', { n: 1 })).toEqual(['b.c']);
  });

  it('matches hostile patterns in linear time', () => {
    const history = open(1);
    history.add(1, 'a'.repeat(10_000), null);
    const startedAtMs = performance.now();
    const pattern = `${'a*'.repeat(400)}b`;
    expect(history.query({ hist_access_type: 'search', pattern })).toEqual([]);
    expect(performance.now() - startedAtMs).toBeLessThan(1_000);
  });

  it('keeps no file when told so', () => {
    const history = open(1, null);
    history.add(1, 'secret', null);
    expect(history.query({ hist_access_type: 'tail', n: 1 })).toHaveLength(1);
    expect(statSync(path, { throwIfNoEntry: false })).toBeUndefined();
  });

  it('is readable by its owner only', () => {
    open(1).add(1, 'a', null);
    expect(statSync(path).mode & 0o077).toBe(0);
  });

  it('skips damaged lines', () => {
    open(1).add(1, 'good', null);
    appendFileSync(path, '{"session":1,"li\n\n[]\n{"session":"x"}\n');
    expect(open(2).query({ hist_access_type: 'tail', n: 9 })).toEqual([[1, 1, 'good']]);
    expect(errors).toEqual([]);
  });

  it('stays below its bound on disk', () => {
    open(1).add(1, 'first', null);
    const line = `${JSON.stringify({ session: 1, line: 1, input: 'x'.repeat(1000), output: null })}\n`;
    writeFileSync(path, line.repeat(Math.ceil(KERNEL_LIMITS.historyBytes / line.length) + 1));
    open(2).add(1, 'last', null);
    expect(statSync(path).size).toBeLessThan(KERNEL_LIMITS.historyBytes);
    expect(readFileSync(path, 'utf8').trimEnd().split('\n').at(-1)).toContain('last');
  });

  it('reports a path that cannot be written, and goes on', () => {
    const history = open(1, join('/dev/null', 'x'));
    history.add(1, 'a', null);
    expect(errors).toContain('writing the history');
    expect(history.query({ hist_access_type: 'tail', n: 1 })).toHaveLength(1);
  });
});
