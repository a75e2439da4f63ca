/**
 * @file The kernel as a front end sees it: what cells share, what they show, how they fail, and that the
 * protocol is served while they run.
 */

import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { KERNEL_LIMITS } from '@ravenlab/protocol';
import { JupyterClient } from './lib/jupyterClient.js';

const ENV = { RAVENLAB_ENGINE: 'off' };

describe('a kernel', () => {
  let client: JupyterClient;
  let notebookDir: string;
  beforeAll(async () => {
    notebookDir = mkdtempSync(join(tmpdir(), 'ravenlab-notebook-'));
    writeFileSync(join(notebookDir, 'helper.mjs'), 'export const helped = 42;');
    client = await JupyterClient.start({ cwd: notebookDir, env: ENV });
  });
  afterAll(async () => {
    await client.close();
    rmSync(notebookDir, { recursive: true, force: true });
  });

  /** Runs cells in order; returns the last one's result. */
  const lastResult = async (...cells: string[]): Promise<string | undefined> => {
    let result: string | undefined;
    for (const cell of cells) {
      const execution = await client.execute(cell);
      expect(execution.error).toBeUndefined();
      result = execution.result;
    }
    return result;
  };

  describe('what cells share', () => {
    it('lets an assignment take effect in functions of older cells', async () => {
      const cells = ['let lr = 0.1; function step() { return lr }', 'lr = 0.01', 'step()'];
      expect(await lastResult(...cells)).toBe('0.01');
    });

    it('lets older functions see a redefined function', async () => {
      const cells = [
        'function loss() { return "old" } function train() { return loss() }',
        'function loss() { return "new" }',
        'train()',
      ];
      expect(await lastResult(...cells)).toBe("'new'");
    });

    it('redeclares const, class and imports', async () => {
      expect(await lastResult('const c = 1', 'const c = 2; c')).toBe('2');
      const cells = ['class A { v = 1 }', 'class A { v = 2 }', 'new A().v'];
      expect(await lastResult(...cells)).toBe('2');
      expect(await lastResult("import { sep } from 'path'", 'const sep = "x"; sep')).toBe("'x'");
    });

    it('shares destructured names, enums and names of async cells', async () => {
      expect(
        await lastResult('const { a, b: [c] } = await Promise.resolve({ a: 1, b: [2] })', 'a + c'),
      ).toBe('3');
      expect(await lastResult('enum Color { Red = 3 }', 'Color.Red')).toBe('3');
    });

    it('keeps what ran before an error', async () => {
      const failed = await client.execute('const early = 5; null.x; const late = 6');
      expect(failed.status).toBe('error');
      expect(await lastResult('[early, typeof late]')).toBe("[ 5, 'undefined' ]");
    });

    it('shadows globals that Node defines as accessors', async () => {
      expect(await lastResult("import crypto from 'node:crypto'", 'typeof crypto.createHash')).toBe(
        "'function'",
      );
    });
  });

  describe('top-level await', () => {
    it.each([
      ['await (Promise.resolve(1))', '1'],
      ['(await (async () => ({ x: 2 }))()).x', '2'],
      ['await Promise.all([1, 2])', '[ 1, 2 ]'],
      ['let sum = 0; for await (const n of [1, Promise.resolve(2)]) sum += n; sum', '3'],
      ['if (true) { await null; } 4', '4'],
    ])('runs %s', async (code, expected) => {
      expect(await lastResult(code)).toBe(expected);
    });
  });

  describe('imports', () => {
    it('finds modules beside the notebook', async () => {
      expect(await lastResult("import { helped } from './helper.mjs'; helped")).toBe('42');
    });

    it('finds packages of the project when the notebook has none', async () => {
      expect(await lastResult("import * as acorn from 'acorn'; typeof acorn.parse")).toBe(
        "'function'",
      );
    });

    it('names what a module exports when a name is missing', async () => {
      const { error } = await client.execute("import { jion } from 'node:path'; jion('a')");
      expect(error?.evalue).toContain("'node:path' does not export jion; it exports");
    });

    it('says which package is missing', async () => {
      const { error } = await client.execute("import 'no-such-package'");
      expect(error?.evalue).toContain("Cannot find package 'no-such-package'");
    });

    it('runs notebooks written for tslab', async () => {
      const { outputs, error } = await client.execute(
        [
          "import * as tslab from 'tslab';",
          "tslab.display.html('<b>b</b>');",
          'const bar = tslab.newDisplay();',
          "bar.text('1'); bar.text('2');",
        ].join('\n'),
      );
      expect(error).toBeUndefined();
      const types = outputs.map((output) => output.type);
      expect(types[0]).toBe('display_data');
      expect(outputs.at(-1)?.content['data']).toEqual({ 'text/plain': '2' });
      expect(outputs[1]?.content['transient']).toEqual(outputs.at(-1)?.content['transient']);
    });
  });

  describe('output', () => {
    it('loses none of 20,000 prints, in few messages, with idle last', async () => {
      const { stdout, outputs, idleMs } = await client.execute(
        'for (let i = 0; i < 20000; i++) console.log(i)',
      );
      expect(stdout).toBe(Array.from({ length: 20_000 }, (_, i) => `${i}\n`).join(''));
      expect(outputs.length).toBeLessThan(200);
      expect(idleMs).toBeLessThan(5_000);
    });

    it('keeps the order of streams, displays and the result', async () => {
      const { outputs } = await client.execute(
        'console.log("a"); jupyter.html("b"); console.error("c"); console.log("d"); "e"',
      );
      const seen = outputs.map(({ type, content }) => content['name'] ?? type);
      expect(seen).toEqual(['stdout', 'display_data', 'stderr', 'stdout', 'execute_result']);
    });

    it('sends late output to the cell that started it', async () => {
      const first = client.startExecute('setTimeout(() => console.log("late"), 150)');
      await first.done;
      const late = client.waitFor(({ type }) => type === 'stream', 'the late line');
      const second = client.startExecute('await new Promise((r) => setTimeout(r, 300)); "done"');
      expect((await late).parentId).toBe(first.id);
      expect((await second.done).stdout).toBe('');
    });

    it('merges bursts of updates and never exceeds the message rate', async () => {
      const { outputs, idleMs } = await client.execute(
        [
          "jupyter.raw({ 'text/plain': 'start' }, { id: 'bar' });",
          'for (let i = 0; i <= 5000; i++) {',
          "  jupyter.raw({ 'text/plain': String(i) }, { id: 'bar', update: true });",
          '}',
        ].join('\n'),
      );
      const allowed = KERNEL_LIMITS.iopubBurst + (KERNEL_LIMITS.iopubPerSecond * idleMs) / 1000;
      expect(outputs.length).toBeLessThanOrEqual(allowed + 1);
      expect(outputs.at(-1)?.content['data']).toEqual({ 'text/plain': '5000' });
    });

    it('shows objects that describe themselves', async () => {
      const { outputs } = await client.execute(
        '({ toHtml: () => "<p>", toSvg: async () => "<svg/>" })',
      );
      const data = outputs[0]?.content['data'] as Record<string, string>;
      expect(data['text/html']).toBe('<p>');
      expect(data['image/svg+xml']).toBe('<svg/>');
      expect(data['text/plain']).toContain('toHtml');
    });

    it('evaluates user expressions and keeps silent runs silent', async () => {
      const { reply } = await client.execute('var u = 2', {
        userExpressions: { good: 'u * 2', bad: 'nope' },
      });
      expect(reply['user_expressions']).toMatchObject({
        good: { status: 'ok', data: { 'text/plain': '4' } },
        bad: { status: 'error', ename: 'ReferenceError' },
      });
      const before = Number((await client.execute('1')).reply['execution_count']);
      const silent = await client.execute('u + 1', { silent: true });
      expect(silent.outputs).toEqual([]);
      expect((await client.execute('1')).reply['execution_count']).toBe(before + 1);
    });
  });

  describe('errors', () => {
    it('points at the right line and column of the right cell', async () => {
      const defined = await client.execute(
        'function fail(x: number) {\n  const y = x;\n  throw new RangeError("no " + y);\n}',
      );
      const count = String(defined.reply['execution_count']);
      const { error } = await client.execute('const a = 1;\n\n  fail(a)');
      expect(error?.ename).toBe('RangeError');
      expect(error?.traceback).toContain(`cell[${count}].ts:3:9`);
      expect(error?.traceback).toContain('> 3 |   throw new RangeError("no " + y);');
      expect(error?.traceback).toContain(`at cell[${Number(count) + 1}].ts:3:3`);
      expect(error?.traceback).not.toMatch(/node:|session|vm\.js/);
    });

    it('keeps lines right behind an import, an await and an enum', async () => {
      const { error } = await client.execute(
        'import {\n  join,\n} from "path";\nawait null;\nenum E { A }\nnull.x',
      );
      expect(error?.traceback).toMatch(/cell\[\d+\]\.ts:6:6/);
    });

    it('shows syntax errors at their place', async () => {
      const { error } = await client.execute('const ok = 1;\nconst = 2;');
      expect(error?.ename).toBe('SyntaxError');
      expect(error?.traceback).toMatch(/cell\[\d+\]\.ts:2:7/);
    });

    it('shows causes, thrown values and rejections nobody handled', async () => {
      const { error } = await client.execute(
        'throw new Error("outer", { cause: new Error("inner") })',
      );
      expect(error?.traceback).toContain('Caused by:');
      expect((await client.execute('throw { a: 1 }')).error?.evalue).toContain('{ a: 1 }');
      const { stderr } = await client.execute(
        'Promise.reject(new Error("lost")); await new Promise((r) => setTimeout(r, 20))',
      );
      expect(stderr).toContain('lost');
    });

    it('prints type errors without holding the cell up', async () => {
      await client.request('shell', 'complete_request', { code: 'Math.', cursor_pos: 5 });
      // On a busy machine the check ends after the cell does; it is still the cell's output.
      const printed = client.waitFor(({ type }) => type === 'stream', 'the type error');
      const { id, done } = client.startExecute('const n: number = "abc";\nn');
      expect((await done).result).toBe("'abc'");
      const { parentId, content } = await printed;
      expect(parentId).toBe(id);
      expect(content['name']).toBe('stderr');
      expect(content['text']).toMatch(
        /cell\[\d+\]\.ts:1:7 - TS2322: Type 'string' is not assignable/,
      );
    });

    it('refuses to run a cell with type errors when the notebook asks for that', async () => {
      const strict = await client.execute(
        '// types: error\nglobalThis.ran = true; const s: string = 1;',
      );
      expect(strict.error?.ename).toBe('TypeScriptError');
      expect((await client.execute('// types: warn\nglobalThis.ran')).result).toBeUndefined();
    });

    it('aborts queued cells behind an error, unless told not to', async () => {
      const failing = client.startExecute('await new Promise((r) => setTimeout(r, 30)); throw 1');
      const queued = client.startExecute('1');
      expect((await failing.done).status).toBe('error');
      expect((await queued.done).status).toBe('aborted');
      const tolerated = client.startExecute('throw 1', { stopOnError: false });
      const next = client.startExecute('1');
      await tolerated.done;
      expect((await next.done).status).toBe('ok');
    });
  });

  describe('while a cell runs', () => {
    it('completes, inspects, beats and answers control', async () => {
      await client.execute('const tensorLike = { shape: [2, 3], reshape(n: number) { return n } }');
      await client.request('shell', 'complete_request', { code: 'tensorLike.', cursor_pos: 11 });
      const { done } = client.startExecute('while (true) {}');
      const startedAtMs = performance.now();
      const completed = await client.request('shell', 'complete_request', {
        code: 'tensorLike.sh',
        cursor_pos: 13,
      });
      expect(completed).toMatchObject({ matches: ['shape'], cursor_start: 11, cursor_end: 13 });
      const inspected = await client.request('shell', 'inspect_request', {
        code: 'tensorLike.reshape(',
        cursor_pos: 19,
        detail_level: 0,
      });
      expect(JSON.stringify(inspected['data'])).toContain('reshape(n: number): number');
      expect(await client.request('control', 'usage_request', {})).toHaveProperty('kernel_memory');
      await client.beat();
      expect(performance.now() - startedAtMs).toBeLessThan(2_000);
      await client.interrupt();
      await done;
    });

    it('counts cursor positions in code points', async () => {
      const code = '"😀"; Math.sq';
      const completed = await client.request('shell', 'complete_request', { code, cursor_pos: 12 });
      expect(completed).toMatchObject({ matches: ['sqrt'], cursor_start: 10, cursor_end: 12 });
    });
  });

  it('asks the front end for input and goes on with the answer', async () => {
    client.onInput = (prompt) => (prompt === 'name? ' ? 'Ada' : '');
    const { result } = await client.execute('const who = jupyter.input("name? "); who', {
      allowStdin: true,
    });
    expect(result).toBe("'Ada'");
    client.onInput = null;
    const refused = await client.execute('prompt("x")');
    expect(refused.error?.evalue).toContain('does not take input');
  });

  it('stops a cell that waits for input', async () => {
    const { done } = client.startExecute('jupyter.input("?")', { allowStdin: true });
    await client.waitFor(({ type }) => type === 'input_request', 'input_request');
    await client.interrupt();
    expect((await done).error?.ename).toBe('KeyboardInterrupt');
  });

  it('drops forged and malformed messages and lives on', async () => {
    client.sendRaw('shell', ['<IDS|MSG>', 'f'.repeat(64), '{}', '{}', '{}', '{}']);
    client.sendRaw('shell', ['nonsense']);
    client.sendRaw('control', []);
    client.send('shell', 'no_such_request', {});
    expect((await client.execute('6 * 7')).result).toBe('42');
    expect(client.kernelLog).toContain('signature does not match');
  });

  it('remembers its history', async () => {
    await client.execute('const remembered = 1');
    const reply = await client.request('shell', 'history_request', {
      ...{ output: false, raw: true, hist_access_type: 'search', pattern: '*remembered*', n: 5 },
    });
    expect((reply['history'] as unknown[][]).at(-1)?.[2]).toBe('const remembered = 1');
  });

  it('refuses comms for unknown targets', async () => {
    const id = client.send('shell', 'comm_open', { comm_id: 'c1', target_name: 'nope', data: {} });
    const closed = await client.waitFor(({ type }) => type === 'comm_close', 'comm_close');
    expect(closed.parentId).toBe(id);
    expect(closed.content['comm_id']).toBe('c1');
  });
});

describe('the end of a kernel', () => {
  it('replaces the user thread when a cell needs too much memory', async () => {
    const client = await JupyterClient.start({ env: { ...ENV, RAVENLAB_HEAP_MIB: '64' } });
    await client.execute('var lost = 1');
    const { error } = await client.execute(
      'const hog = []; for (;;) hog.push(new Array(1e5).fill({}))',
    );
    expect(error?.ename).toBe('OutOfMemoryError');
    expect(error?.evalue).toContain('RAVENLAB_HEAP_MIB');
    expect((await client.execute('typeof lost')).result).toBe("'undefined'");
    await client.close();
  });

  it('survives process.exit() in a cell', async () => {
    const client = await JupyterClient.start({ env: ENV });
    const { error } = await client.execute('process.exit(3)');
    expect(error).toMatchObject({ ename: 'ExitError' });
    expect((await client.execute('1 + 1')).result).toBe('2');
    await client.close();
  });

  it.each([true, false])('exits in spite of live timers, restart %s', async (restart) => {
    const client = await JupyterClient.start({ env: ENV });
    await client.execute('setInterval(() => {}, 10)');
    const shutDown = client.waitFor(({ type }) => type === 'shutdown_reply', 'shutdown_reply');
    client.send('control', 'shutdown_request', { restart });
    expect((await shutDown).content).toEqual({ status: 'ok', restart });
    expect(await client.exited(3_000)).toBe(0);
    await client.close();
  });

  it('says what is wrong with a connection file', async () => {
    const { execFile } = await import('node:child_process');
    const main = join(import.meta.dirname, '../../kernel/dist/main.js');
    const stderr = await new Promise<string>((resolve) => {
      execFile(process.execPath, [main, '/no/such/file.json'], (_error, _stdout, text) =>
        resolve(text),
      );
    });
    expect(stderr).toContain('cannot read the connection file /no/such/file.json');
  });
});
