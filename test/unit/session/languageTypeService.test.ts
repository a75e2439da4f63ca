/** @file The type service: what one cell declares, the next ones know. */

import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { LanguageTypeService } from '../../../kernel/src/session/types/languageTypeService.js';

describe('LanguageTypeService', () => {
  let directory: string;
  let service: LanguageTypeService;
  beforeAll(() => {
    directory = mkdtempSync(join(tmpdir(), 'ravenlab-types-'));
    const apiTypesPath = join(directory, 'api.d.ts');
    writeFileSync(
      apiTypesPath,
      [
        'declare const SHOWN: unique symbol;',
        'declare class Table { [SHOWN](): void; private rows: string[]; readonly size: number }',
        'export declare function tensor(x: number[]): { shape: number[] };',
        'export declare function table(): Table;',
        'export {};',
      ].join('\n'),
    );
    service = new LanguageTypeService({ notebookDir: directory, apiTypesPath });
  }, 60_000);
  afterAll(() => rmSync(directory, { recursive: true, force: true }));
  beforeEach(() => service.reset());

  /** Runs cells; returns the messages of the last one's type errors. */
  const check = (...cells: string[]): string[] => {
    let messages: string[] = [];
    for (const code of cells) {
      const diagnostics = service.addCell({ filename: 'cell.ts', code }, { check: true });
      messages = diagnostics.map(({ line, column, message }) => `${line}:${column} ${message}`);
    }
    return messages;
  };
  const complete = (code: string): string[] =>
    service.complete(code, code.length)?.items.map(({ text }) => text) ?? [];

  it.each<readonly [name: string, ...cells: string[]]>([
    ['an assignment', 'let lr = 0.1', 'lr = 0.01'],
    [
      'a value whose type has no name outside of its module',
      'import { table } from "ravenlab"; const found = table(); found.size.toFixed()',
    ],
    ['a changed type', 'let x = 1', 'let x = "a"', 'x.toUpperCase()'],
    ['a redefined class', 'class A { v = 1 }', 'class A { w = 1 }', 'new A().w'],
    [
      'types and interfaces',
      'type T = { a: number }; interface I extends T { b: string }',
      'const i: I = { a: 1, b: "" }',
    ],
    [
      'imports',
      "import * as path from 'node:path'; import { sep } from 'node:path'",
      'path.join(sep)',
    ],
    ['destructuring', 'const { a, b: [c] } = { a: 1, b: [2] }', 'a.toFixed() + c!.toFixed()'],
    [
      'top-level await',
      'const t = await (Promise.resolve("s"))',
      't.length',
      'for await (const n of [1]) n.toFixed()',
    ],
    ['vars of loops', 'for (var i = 0; i < 3; i++) { var last = i }', 'i + last'],
    [
      'overloads',
      'function f(a: string): string; function f(a: number): number; function f(a: any) { return a }',
      'f("").length + f(1)',
    ],
    ['enums and namespaces', 'enum E { A } namespace N { export const v = 1 }', 'N.v + E.A'],
    [
      'the package of this kernel',
      "import { tensor } from 'ravenlab'; const t = tensor([1])",
      't.shape.length',
    ],
    [
      'globals of cells and of Node',
      'jupyter.html("x"); Buffer.from("a"); setTimeout(() => {}, 1)',
    ],
    ['functions without annotations', 'function g(x) { return x }', 'g(1)'],
    ['cells that failed', 'const early = 1; throw new Error()', 'early.toFixed()'],
  ])('carries %s over without complaint', (_, ...cells) => {
    expect(check(...cells)).toEqual([]);
  });

  it.each([
    ['a wrong type', ['const n: number = "a"'], '1:7'],
    ['a wrong assignment to an older name', ['let lr = 0.1', '\nlr = "high"'], '2:1'],
    ['an assignment to an older const', ['const c = 1', 'c = 2'], '1:1'],
    ['an unknown name', ['nope'], '1:1'],
    ['a wrong argument of an older function', ['function f(x: string) {}', 'f(1)'], '1:3'],
  ])('reports %s at its place', (_, cells, place) => {
    const messages = check(...cells);
    expect(messages).toHaveLength(1);
    expect(messages[0]?.split(' ')[0]).toBe(place);
  });

  it('does not report the errors of older cells again', () => {
    expect(check('const bad: number = "a"', '1 + 1')).toEqual([]);
  });

  it('completes members, names of older cells and import paths', () => {
    check('const point = { xAxis: 1, yAxis: 2 }');
    expect(complete('point.')).toEqual(['xAxis', 'yAxis']);
    expect(complete('poi')).toContain('point');
    expect(complete('point.XA')).toEqual(['xAxis']);
    expect(complete("import {} from 'node:pat")).toContain('node:path');
    expect(complete('const fresh = { deep: { er: 1 } }; fresh.deep.')).toEqual(['er']);
  });

  it('replaces what was typed', () => {
    expect(service.complete('Math.sqr', 8)).toMatchObject({ start: 5, end: 8 });
  });

  it('inspects names and the call around the cursor', () => {
    check('/** Adds. */ function add(first: number, second: number) { return first + second }');
    expect(service.inspect('add', 3)).toEqual({
      signature: 'function add(first: number, second: number): number',
      documentation: 'Adds.',
    });
    expect(service.inspect('add(1, ', 7)).toMatchObject({
      signature: 'add(first: number, second: number): number',
      documentation: expect.stringContaining('second') as string,
    });
    expect(service.inspect('   ', 1)).toBeNull();
  });

  it('forgets everything when the variables are lost', () => {
    check('const gone = 1');
    service.reset();
    expect(check('gone')[0]).toContain("Cannot find name 'gone'");
  });
});
