/**
 * @file The cell transform, by running what it makes: a table of cells and the values they share. Each row
 * runs its cells one after the other in one fresh realm, as the user thread does.
 */

import vm from 'node:vm';
import { transformCell } from '../../../kernel/src/session/transform/cellTransform.js';

/** Runs cells in one realm; returns the value of the last expression of the last cell. */
async function runCells(cells: readonly string[]): Promise<unknown> {
  const resume = (_: unknown, value: unknown): unknown => value;
  const runtime = {
    ...{ here: () => null, settle: (value: unknown) => value, resume },
    iterate: (values: unknown) => values,
    import: (name: string) =>
      Promise.resolve({ default: `default of ${name}`, named: 7, 'a-b': 8 }),
    dynamicImport: (name: string) => Promise.resolve({ name }),
    meta: { url: 'file:///notebook/cell.ts' },
  };
  const realm = vm.createContext({ __rl: runtime, console });
  let box: readonly [unknown] | undefined;
  for (const source of cells) {
    const transformed = transformCell(source);
    if (!transformed.ok) throw new SyntaxError(transformed.error.message);
    const { hoisted, body } = transformed.cell;
    if (hoisted) vm.runInContext(hoisted.code, realm);
    box = (await vm.runInContext(body.code, realm)) as typeof box;
  }
  return box?.[0];
}

const VALUES: readonly (readonly [cells: readonly string[], value: unknown])[] = [
  [['1 + 1'], 2],
  [['const x: number = 3; x as number'], 3],
  [['let x = 1', 'x = 2', 'x'], 2],
  [['let x = 1', 'let x; x'], undefined],
  [['var x = 1', 'var x; x'], 1],
  [['let a = 1, b, { c, d: [e] } = { c: 3, d: [5] }', '[a, b, c, e].join()'], '1,,3,5'],
  [['const { a = 1, ...rest } = { b: 2 } as any; [a, rest.b].join()'], '1,2'],
  [['const f = () => 1; f.name'], 'f'],
  [['before(); function before() { return 4 } before()'], 4],
  [
    ['function f() { return g() } function g() { return 1 }', 'function g() { return 2 }', 'f()'],
    2,
  ],
  [['function f() { return 1 }', 'const f = 5; f'], 5],
  [['const f = 5', 'function f() { return 6 } f()'], 6],
  [['class A { static n = 1 }', 'class A { static n = 2 }', 'A.n'], 2],
  [['class A { v = 1 }\nclass B extends A { w = this.v + 1 }\nnew B().w'], 2],
  [['function* g() { yield 9 } [...g()][0]'], 9],
  [['async function f() { return 8 } await f()'], 8],
  [['for (var i = 0, n; i < 3; i++) { var last = i; } [i, n, last].join()'], '3,,2'],
  [['for (var k of [1, 2]) {} k'], 2],
  [['if (true) var inIf = 1; inIf'], 1],
  [['{ let inner = 1; var outer = inner } outer'], 1],
  [['await (Promise.resolve(2))'], 2],
  [['const y = (await (async () => ({ z: 3 }))()).z; y'], 3],
  [['await (1, 2)'], 2],
  [['let s = 0; for await (const v of [1, 2]) s += v; s'], 3],
  [["import d, { named as m, 'a-b' as ab } from 'pkg'; [d, m, ab].join()"], 'default of pkg,7,8'],
  [["import * as ns from 'pkg'", 'ns.named'], 7],
  [["import d, * as ns from 'pkg'; [d, ns.named].join()"], 'default of pkg,7'],
  [["import type { T } from 'pkg'; 1"], 1],
  [["(await import('x')).name"], 'x'],
  [['import.meta.url'], 'file:///notebook/cell.ts'],
  [['export const e = 1; export function ef() { return e }', 'ef()'], 1],
  [['export default 5 + 1'], 6],
  [['export default function named() { return 2 }', 'named()'], 2],
  [['export default function () {}\n3'], 3],
  [['const q = 1; export { q }; q'], 1],
  [["export * from 'x'; 4"], 4],
  [['enum Color { Red = 2 } Color.Red'], 2],
  [['namespace N { export const v = 4 } N.v'], 4],
  [['class P { constructor(readonly v: number) {} } new P(6).v'], 6],
  [['let a = 1\nlet b = 2\n;[a, b].join()'], '1,2'],
  [['const f = (x: number) => x\nconst [p] = [f(1)]\np'], 1],
  [['let x = 5 // comment'], undefined],
  [['7 // comment'], 7],
  [['8;;;'], 8],
  [["'use strict'; 9"], 9],
  [
    [
      'type T = { a: number }\ninterface I { b: string }\nlet t: T = { a: 1 }; t.a satisfies number',
    ],
    1,
  ],
  [[''], undefined],
  [['// only a comment'], undefined],
  [['const big = 10n ** 20n; big.toString()'], '100000000000000000000'],
  [['label: for (;;) { break label } 1'], 1],
  [['const o = { async m() { return await 1 } }; await o.m()'], 1],
];

describe('a transformed cell', () => {
  it.each(VALUES)('%j gives %j', async (cells, value) => {
    expect(await runCells(cells)).toEqual(value);
  });

  it('shows a promise instead of waiting for it', async () => {
    const transformed = transformCell('Promise.resolve(1)');
    if (!transformed.ok) throw new Error('must parse');
    expect(transformed.cell.isAsync).toBe(false);
    const [shown] = vm.runInThisContext(transformed.cell.body.code) as [Promise<number>];
    expect(await shown).toBe(1);
  });

  it('is synchronous unless the cell itself awaits', () => {
    const isAsync = (source: string): unknown => {
      const transformed = transformCell(source);
      return transformed.ok && transformed.cell.isAsync;
    };
    expect(isAsync('async function f() { await 1 }')).toBe(false);
    expect(isAsync('class A { async m() { for await (const x of y) {} } }')).toBe(false);
    expect(isAsync('if (x) { await y }')).toBe(true);
  });

  it('keeps every line where it was', () => {
    const source =
      "import {\n  a,\n} from 'x';\nfunction f() {\n  return 1;\n}\n\nconst y = f();\n";
    const transformed = transformCell(source);
    if (!transformed.ok) throw new Error('must parse');
    const { hoisted, body } = transformed.cell;
    expect(hoisted?.code.split('\n')[3]).toContain('function f()');
    expect(body.code.split('\n')[7]).toContain('y = f()');
    expect(body.code.split('\n')[3]?.trim()).toBe('');
  });

  it.each([
    ['null.x', 1, 6],
    ['const a = 1;\n  null.x', 2, 8],
    ['let b = await 1; await null.x', 1, 29],
    ['function f() {\n  null.x\n}\nf()', 2, 8],
    ['enum E { A }\nlet c = null.x', 2, 14],
    ['class A { } null.x', 1, 18],
  ])('maps the place of an error in %j to %d:%d', async (source, line, column) => {
    const transformed = transformCell(source);
    if (!transformed.ok) throw new Error('must parse');
    const { hoisted, body, toOriginal } = transformed.cell;
    const realm = vm.createContext({
      __rl: { here: () => null, settle: (v: unknown) => v, resume: (_: unknown, v: unknown) => v },
    });
    const run = async (): Promise<string> => {
      try {
        const options = { filename: 'cell.ts', displayErrors: false };
        if (hoisted) {
          vm.runInContext(hoisted.code, realm, { ...options, columnOffset: hoisted.columnOffset });
        }
        await vm.runInContext(body.code, realm, { ...options, columnOffset: body.columnOffset });
        return '';
      } catch (error) {
        return String((error as Error).stack);
      }
    };
    const place = /cell\.ts:(\d+):(\d+)/.exec(await run());
    expect(toOriginal({ line: Number(place?.[1]), column: Number(place?.[2]) })).toEqual({
      line,
      column,
    });
  });
});

describe('a cell that does not parse', () => {
  it.each([
    'function f() {',
    'f(',
    'const x =',
    '`open',
    '/* open',
    'if (x)',
    'const o = { a: 1,',
    'interface A {',
    'class A {\n  m() {',
    'x = 1 +\n',
  ])('is incomplete: %j', (source) => {
    expect(transformCell(source)).toMatchObject({ ok: false, error: { isIncomplete: true } });
  });

  it.each([
    'let let',
    '1 +* 2',
    'const x = 1;)',
    '"open',
    'return 1',
    'let a; let a;',
    'await = 1',
    '@d class A {}',
  ])('is invalid: %j', (source) => {
    expect(transformCell(source)).toMatchObject({ ok: false, error: { isIncomplete: false } });
  });

  it('reports the place of the error', () => {
    const transformed = transformCell('const ok = 1;\n  let let');
    expect(transformed).toMatchObject({ error: { position: { line: 2, column: 7 } } });
  });

  it('refuses a name that the runtime needs', () => {
    expect(transformCell('let __rl = 1')).toMatchObject({ ok: false });
  });

  it('refuses a cell beyond the size limit before parsing it', () => {
    const transformed = transformCell(' '.repeat(4 * 2 ** 20 + 1));
    expect(transformed).toMatchObject({ ok: false, error: { isIncomplete: false } });
  });
});
