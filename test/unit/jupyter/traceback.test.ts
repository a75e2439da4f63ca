/** @file Tracebacks: the right line, a code frame, no internals, causes. */

import { formatError, formatSyntaxError } from '../../../kernel/src/jupyter/traceback.js';
import type { CellSource } from '../../../kernel/src/jupyter/traceback.js';
import type { CapturedError } from '../../../kernel/src/session/threadMessages.js';

const SOURCES: Readonly<Record<string, CellSource>> = {
  'cell[1].ts': { source: 'function f() {\n\tnull.x;\n}', toOriginal: (position) => position },
  // As if the transform had put two characters before every column.
  'cell[2].ts': {
    source: 'f()',
    toOriginal: ({ line, column }) => ({ line, column: column - 2 }),
  },
};
const STACK = [
  'TypeError: Cannot read properties of null',
  '    at f (cell[1].ts:2:7)',
  '    at cell[2].ts:1:3',
  '    at cell[2].ts:2:3',
  '    at helper (file:///home/me/lib.mjs:9:1)',
  '    at async (file:///opt/kernel/dist/session/user/cellScope.js:5:5)',
  '    at Script.runInThisContext (node:vm:137:12)',
].join('\n');

const errorOf = (changes: Partial<CapturedError> = {}): CapturedError => ({
  ...{ name: 'TypeError', message: 'Cannot read properties of null', stack: STACK },
  ...{ cause: null, isInterrupt: false, ...changes },
});
const linesOf = (error: CapturedError): string[] =>
  formatError(error, (name) => SOURCES[name], ['/opt/kernel/dist/'])
    .traceback.join('\n')
    .replace(/\u001b\[[0-9;]*m/g, '')
    .split('\n');

describe('a traceback', () => {
  it('shows the place, a code frame and the frames of cells and of the user', () => {
    expect(linesOf(errorOf())).toEqual([
      'TypeError: Cannot read properties of null',
      'cell[1].ts:2:7',
      '  1 | function f() {',
      '> 2 | \tnull.x;',
      '    | \t     ^',
      '  3 | }',
      '    at f (cell[1].ts:2:7)',
      '    at cell[2].ts:1:1',
      '    at helper (file:///home/me/lib.mjs:9:1)',
    ]);
  });

  it('shows a syntax error that only the engine found', () => {
    const stack = 'cell[2].ts:1\nf()\n  ^\n\nSyntaxError: bad';
    expect(linesOf(errorOf({ name: 'SyntaxError', message: 'bad', stack })).slice(0, 2)).toEqual([
      ...['SyntaxError: bad', 'cell[2].ts:1:1'],
    ]);
  });

  it('goes through the causes', () => {
    const cause = errorOf({ name: 'Error', message: 'inner', stack: '' });
    const lines = linesOf(errorOf({ stack: '', cause }));
    expect(lines).toEqual([
      'TypeError: Cannot read properties of null',
      'Caused by:',
      'Error: inner',
    ]);
  });

  it('survives stacks that are no stacks', () => {
    const stack = '    at (((((:1:1\nat\n    at x (cell[9].ts:1:1)\n\u0000';
    expect(linesOf(errorOf({ stack })).at(-1)).toBe('    at x (cell[9].ts:1:1)');
  });

  it('reports ename and evalue', () => {
    const content = formatError(errorOf(), () => undefined, []);
    expect(content).toMatchObject({ ename: 'TypeError', evalue: 'Cannot read properties of null' });
    const position = { line: 1, column: 3 };
    const syntax = formatSyntaxError('oops', position, { filename: 'cell[1].ts', source: 'a b' });
    expect(syntax).toMatchObject({ ename: 'SyntaxError', evalue: 'oops' });
    expect(syntax.traceback.join()).toContain('cell[1].ts:1:3');
  });
});
