/**
 * @file Stop ends any cell, whatever it does, and keeps the variables. Each kind of hostile loop is one
 * that another design could not stop: catch-all loops, loops behind an await, timers, microtasks, blocking
 * waits, regular expressions.
 */

import { JupyterClient } from './lib/jupyterClient.js';

const LOOPS: Readonly<Record<string, string>> = {
  'a synchronous loop': 'while (true) {}',
  'a loop that catches everything': 'while (true) { try { for (;;) {} } catch {} finally {} }',
  'a loop behind an await': 'await null; while (true) {}',
  'a loop in a timer': 'await new Promise(() => setTimeout(() => { while (true) {} }, 1))',
  'an endless chain of microtasks':
    'await new Promise(() => { const next = () => { queueMicrotask(next); }; next(); })',
  'an endless chain of awaits': 'for (;;) { await null; }',
  'an endless chain of process.nextTick':
    'await new Promise(() => { const next = () => { process.nextTick(next); }; next(); })',
  'a chain of immediates that catches everything':
    'for (;;) { try { await new Promise((r) => setImmediate(r)); } catch {} }',
  'a blocking Atomics.wait': 'Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0)',
  'a regular expression that backtracks': '/^(a+)+$/.test("a".repeat(40) + "b")',
  'a promise that never settles': 'await new Promise(() => {})',
  'a sleep': 'await new Promise((r) => setTimeout(r, 1e6))',
  'a loop that prints': 'while (true) { console.log("flood"); }',
  'a loop in a getter while a result is shown':
    '({ get x() { return 1 }, [Symbol.for("nodejs.util.inspect.custom")]() { for (;;) {} } })',
};

/** How often each loop is stopped. */
const ROUNDS = 6;

describe('Stop', () => {
  let client: JupyterClient;
  beforeAll(async () => {
    client = await JupyterClient.start({ env: { RAVENLAB_ENGINE: 'off' } });
  });
  afterAll(() => client.close());

  it.each(Object.entries(LOOPS))(
    'ends %s within 50 ms and keeps the variables',
    async (_, code) => {
      const timesMs: number[] = [];
      for (let round = 1; round <= ROUNDS; round++) {
        const kept = await client.execute(`var kept = ${round}`);
        expect(kept.status).toBe('ok');
        const { id, done } = client.startExecute(code);
        await client.waitFor(
          (message) => message.type === 'execute_input' && message.parentId === id,
          'execute_input',
        );
        await new Promise((resolve) => setTimeout(resolve, 5 * round));
        timesMs.push(await client.interrupt());
        const stopped = await done;
        expect(stopped.error?.ename).toBe('KeyboardInterrupt');
        expect(stopped.outputs.at(-1)?.type).toBe('error');
        expect(await client.execute('kept')).toMatchObject({ status: 'ok', result: String(round) });
      }
      // The second best, because the machine runs other things too; the bench reports percentiles.
      expect(timesMs.sort((a, b) => a - b)[1]).toBeLessThan(50);
    },
  );

  it('leaves no zombie: an async loop does not go on behind the next cells', async () => {
    await client.execute('var ticks = 0');
    const goesOn = client.waitFor(({ type }) => type === 'stream', 'the first ticks');
    const { done } = client.startExecute(
      'for (;;) { try { await new Promise((r) => setTimeout(r, 2)); if (++ticks === 3) console.log("on"); } catch {} }',
    );
    await goesOn;
    await client.interrupt();
    await done;
    const before = (await client.execute('ticks')).result;
    expect(Number(before)).toBeGreaterThan(0);
    await client.execute('await new Promise((r) => setTimeout(r, 50))');
    expect((await client.execute('ticks')).result).toBe(before);
  });

  it('ends what earlier cells left running when no cell runs', async () => {
    await client.execute('var beats = 0; setInterval(() => { beats++; }, 2)');
    await client.execute('await new Promise((r) => setTimeout(r, 30))');
    await client.interrupt();
    const before = (await client.execute('beats')).result;
    await client.execute('await new Promise((r) => setTimeout(r, 30))');
    expect((await client.execute('beats')).result).toBe(before);
  });

  it('aborts the cells that wait behind the stopped one', async () => {
    const running = client.startExecute('while (true) {}');
    const queued = client.startExecute('globalThis.wasRun = true');
    await new Promise((resolve) => setTimeout(resolve, 30));
    await client.interrupt();
    expect((await running.done).status).toBe('error');
    expect((await queued.done).status).toBe('aborted');
    expect((await client.execute('globalThis.wasRun')).result).toBeUndefined();
  });

  it('answers SIGINT like Stop', async () => {
    const { done } = client.startExecute('while (true) {}');
    await new Promise((resolve) => setTimeout(resolve, 30));
    client.process.kill('SIGINT');
    expect((await done).error?.ename).toBe('KeyboardInterrupt');
  });

  it('stays quiet: no warning of the kernel came up', () => {
    expect(client.kernelLog).toBe('');
  });
});
