/**
 * @file The worker process against a scripted engine: joining, working, refusing, leaving. What the lease machine's
 * scenes cannot see: sockets, threads, signals, and what a person reads.
 *
 * @jest-environment ./test/support/nativeArrays.ts
 */
import { spawn } from 'node:child_process';
import { readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import type {
  DoneUnit,
  Program,
  RunInput,
  RunMerge,
  StateId,
  StateVersion,
} from '@ravenlab/protocol';
import { LIMITS, joinChunks, programCost, z85ToHex } from '@ravenlab/protocol';
import { powers } from './lib/programs.js';
import { ScriptedEngine, ended, soon } from './lib/scriptedEngine.js';
import { SocksServer } from './lib/socksServer.js';

let engine: ScriptedEngine;

async function start(...args: Parameters<typeof ScriptedEngine.start>): Promise<ScriptedEngine> {
  engine = await ScriptedEngine.start(...args);
  return engine;
}

afterEach(() => engine.stop());

const KEY = { kind: 'key', seedLow: 1, seedHigh: 2, step: 3 } as const satisfies RunInput;
const state = (id: number, version = 1): RunInput => ({
  kind: 'state',
  stateId: id as StateId,
  version: version as StateVersion,
});

/** key → sum of its four words: the smallest program there is. */
const NOOP: Program = {
  inputs: [{ dtype: 'int32', shape: [4] }],
  nodes: [
    {
      op: 'sum',
      inputs: [0],
      params: { axes: [0], keepDims: false },
      type: { dtype: 'int32', shape: [] },
    },
  ],
  outputs: [1],
};

/** x float32[n] → 1/x. */
function reciprocal(n: number): Program {
  const type = { dtype: 'float32', shape: [n] } as const;
  const one = { dtype: 'float32', shape: [] } as const;
  return {
    inputs: [type],
    nodes: [
      { op: 'full', inputs: [], params: { shape: [], dtype: 'float32', value: 1 }, type: one },
      { op: 'div', inputs: [1, 0], params: {}, type },
    ],
    outputs: [2],
  };
}

function floatsOf(unit: DoneUnit | undefined): number[] {
  if (unit?.status !== 'ok' || unit.outputs === null) {
    throw new Error(`not a result: ${JSON.stringify(unit)}`);
  }
  const bytes = Uint8Array.from(joinChunks(unit.outputs[0]!));
  return [...new Float32Array(bytes.buffer)];
}

describe('a worker of the engine itself', () => {
  test('introduces itself with what it can do', async () => {
    await start();
    engine.spawnLocal('--name', 'ada', '--memory', '1G');
    const hello = await engine.welcome();
    expect(hello).toMatchObject({ token: 'secret', name: 'ada', incarnation: 1, held: null });
    expect(hello.workerId).toMatch(/^[0-9a-f]{64}$/);
    const { capabilities } = hello;
    expect(capabilities).toMatchObject({ backend: 'onnx-cpu', threads: 1, memoryBytes: 2 ** 30 });
    expect(capabilities.gflops).toBeGreaterThan(1);
    expect(capabilities.bitClass).toMatch(/^onnx-cpu onnxruntime \d/);
  });

  test('runs many units of one RUN and answers each lease once', async () => {
    await start();
    engine.spawnLocal();
    await engine.welcome();
    await engine.define(0, NOOP);
    const leases = await engine.run({ program: 0, inputs: [KEY], units: 500 });
    const units = await engine.results(leases.length);
    expect(units.map(({ lease }) => lease)).toEqual(leases);
    units.forEach((unit, shard) => {
      if (unit.status !== 'ok') throw new Error(JSON.stringify(unit));
      const sum = new Int32Array(Uint8Array.from(joinChunks(unit.outputs![0]!)).buffer);
      expect(sum[0]).toBe(1 + 2 + 3 + shard);
    });
  });

  test('asks for what it lacks and works with what it gets, rows of several blocks included', async () => {
    await start();
    engine.spawnLocal();
    await engine.welcome();
    const x = { dtype: 'float32', shape: [3, 2] } as const;
    const w = { dtype: 'float32', shape: [2] } as const;
    const program: Program = {
      inputs: [x, w],
      nodes: [{ op: 'mul', inputs: [0, 1], params: {}, type: x }],
      outputs: [2],
    };
    const dataId = 7 as never;
    const rows: RunInput = {
      kind: 'rows',
      dataId,
      dataRows: 5,
      blockRows: 2,
      perUnit: true,
      indices: Int32Array.of(4, 0, 1, 3, 3, 4),
    };
    await engine.run({ program: 0, inputs: [rows, state(1)], units: 2 });
    const need = await engine.next('need');
    expect(need).toMatchObject({ programs: [0], states: [{ stateId: 1, version: 1 }] });
    expect(need.blocks.map(({ block }) => block)).toEqual([2, 0, 1]);
    await engine.define(0, program);
    await engine.putState(1, 1, Float32Array.of(10, 100));
    for (const [block, values] of [
      [0, 1, 2, 3],
      [4, 5, 6, 7],
      [8, 9],
    ].entries()) {
      const bytes = new Uint8Array(Float32Array.from(values).buffer);
      const piece = { offsetBytes: 0, totalBytes: bytes.length, bytes: [bytes] };
      await engine.send({ kind: 'blob', chunks: [{ kind: 'block', dataId, block, ...piece }] });
    }
    const units = await engine.results(2);
    expect(floatsOf(units[0])).toEqual([80, 900, 0, 100, 20, 300]);
    expect(floatsOf(units[1])).toEqual([60, 700, 60, 700, 80, 900]);
  });

  test('reports NaN by output, keeps bad programs to themselves, and works on', async () => {
    await start();
    engine.spawnLocal();
    await engine.welcome();
    await engine.define(0, reciprocal(2));
    await engine.putState(1, 1, Float32Array.of(1, 0));
    await engine.putState(1, 2, Float32Array.of(1, 4));
    await engine.run({ program: 0, inputs: [state(1, 1)] });
    expect((await engine.next('done')).units).toMatchObject([{ status: 'nonFinite', output: 0 }]);
    await engine.send({
      kind: 'program',
      index: 1,
      hash: 'cd'.repeat(32) as never,
      bytes: [new Uint8Array(64)],
    });
    await engine.run({ program: 1, inputs: [KEY] });
    const [refused] = (await engine.next('done')).units;
    expect(refused).toMatchObject({ status: 'failed', error: { code: 'program' } });
    await engine.run({ program: 0, inputs: [state(1, 2)] });
    expect(floatsOf((await engine.next('done')).units[0])).toEqual([1, 0.25]);
  });

  test('adds up the units of a group and answers with the first lease', async () => {
    await start();
    engine.spawnLocal();
    await engine.welcome();
    await engine.define(0, NOOP);
    const merge: RunMerge = { groups: [4, 1], sums: ['float32'] };
    const leases = await engine.run({ program: 0, inputs: [KEY], units: 5, merge });
    const units = await engine.results(2);
    expect(units.map(({ lease }) => lease)).toEqual([leases[0], leases[4]]);
    const sums = units.map((unit) => {
      if (unit.status !== 'ok') throw new Error(JSON.stringify(unit));
      return new Int32Array(Uint8Array.from(joinChunks(unit.outputs![0]!)).buffer)[0];
    });
    expect(sums).toEqual([6 + 7 + 8 + 9, 10]);
    await engine.send({ kind: 'ping', seq: 1, sentMs: 1 });
    expect(await engine.next('pong')).toMatchObject({ queuedUnits: 0 });
  });

  test('sends results above 8 MiB ahead, in pieces that fit a frame', async () => {
    await start();
    engine.spawnLocal();
    await engine.welcome();
    const size = 3 * 2 ** 20;
    await engine.define(0, reciprocal(size));
    await engine.putState(1, 1, new Float32Array(size).fill(2));
    const [lease] = await engine.run({ program: 0, inputs: [state(1)] });
    let received = 0;
    while (received < 4 * size) {
      const { chunks } = await engine.next('result');
      for (const chunk of chunks) {
        expect(chunk).toMatchObject({
          lease,
          output: 0,
          offsetBytes: received,
          totalBytes: 4 * size,
        });
        received += chunk.bytes.reduce((sum, { byteLength }) => sum + byteLength, 0);
      }
    }
    const done = await engine.next('done');
    expect(done).toMatchObject({
      outputBytes: [4 * size],
      units: [{ status: 'ok', outputs: null }],
    });
  });

  test('refuses what does not fit its memory and says so', async () => {
    await start();
    engine.spawnLocal('--memory', '1M');
    await engine.welcome();
    await engine.define(0, reciprocal(2 ** 20));
    await engine.run({ program: 0, inputs: [state(1)] });
    await engine.next('need');
    await engine.putState(1, 1, new Float32Array(2 ** 20));
    const [unit] = (await engine.next('done')).units;
    expect(unit).toMatchObject({ status: 'failed', error: { code: 'limit', retryable: true } });
    expect(JSON.stringify(unit)).toMatch(/larger --memory/);
  });

  test('answers PING while it computes, and stops at CANCEL', async () => {
    await start();
    engine.spawnLocal();
    await engine.welcome();
    const work = powers(512, 4);
    expect(programCost(work).flops).toBeGreaterThan(1e9);
    await engine.define(0, work);
    await engine.define(1, NOOP);
    await engine.putState(1, 1, new Float32Array(512 * 512));
    await engine.run({ program: 0, inputs: [state(1)], units: 400, execution: 9 });
    await engine.next('done');
    await engine.send({ kind: 'ping', seq: 5, sentMs: 77 });
    let pong = await engine.next('pong');
    expect(pong).toMatchObject({ kind: 'pong', seq: 5, sentMs: 77 });
    expect(pong.queuedUnits).toBeGreaterThan(300);
    await engine.send({ kind: 'cancel', executions: [9 as never], leases: [] });
    await engine.run({ program: 1, inputs: [KEY], execution: 10 });
    let done = await engine.next('done');
    while (done.execution === (9 as never)) done = await engine.next('done');
    expect(done).toMatchObject({ execution: 10, units: [{ status: 'ok' }] });
    await engine.send({ kind: 'ping', seq: 6, sentMs: 78 });
    pong = await engine.next('pong');
    expect(pong).toMatchObject({ queuedUnits: 0 });
  });

  test('takes what it is sent in order, even while it computes', async () => {
    await start();
    engine.spawnLocal();
    await engine.welcome();
    await engine.define(0, powers(512, 4));
    await engine.define(1, reciprocal(2));
    await engine.putState(1, 1, Float32Array.of(1, 2));
    await engine.putState(2, 1, new Float32Array(512 * 512));
    await engine.run({ program: 0, inputs: [state(2)], units: 20, execution: 1 });
    await engine.run({ program: 1, inputs: [state(1)], execution: 2 });
    const dropped = [{ stateId: 1 as StateId, version: 1 as StateVersion }];
    await engine.send({ kind: 'drop', programs: [], states: dropped, data: [], blocks: [] });
    await engine.putState(1, 1, Float32Array.of(4, 8));
    await engine.run({ program: 1, inputs: [state(1)], execution: 3 });
    await engine.results(20);
    expect(floatsOf((await engine.next('done')).units[0])).toEqual([1, 0.5]);
    expect(floatsOf((await engine.next('done')).units[0])).toEqual([0.25, 0.125]);
  });

  test('ends when its parent does, at once and without an error', async () => {
    await start();
    const child = engine.spawnLocal();
    await engine.welcome();
    await engine.send({ kind: 'ping', seq: 1, sentMs: 1 });
    await engine.next('pong');
    child.stdin?.end();
    expect(await ended(child)).toEqual({ code: 0, output: '' });
    expect(await engine.next('bye')).toMatchObject({ reason: 'leave' });
  });

  test('ends with an explanation when the engine sends what is no message', async () => {
    await start();
    const child = engine.spawnLocal();
    await engine.welcome();
    const end = ended(child);
    await engine.sendFrames([Uint8Array.of(1, 2, 3, 4), new Uint8Array(100)]);
    await engine.next('error');
    expect(await engine.next('bye')).toMatchObject({ reason: 'protocol' });
    const { code, output } = await end;
    expect(code).toBe(1);
    expect(output).toContain('malformed');
  });

  test('comes back when the engine does, and says what it still holds', async () => {
    await start();
    engine.spawnLocal();
    const first = await engine.welcome();
    await engine.putState(3, 8, Float32Array.of(1));
    await engine.send({ kind: 'ping', seq: 1, sentMs: 1 });
    await engine.next('pong');
    engine.unbind();
    await engine.bind();
    const again = await engine.welcome();
    expect(again.workerId).toBe(first.workerId);
    expect(again.held).toMatchObject({
      engineId: engine.engineId,
      states: [{ stateId: 3, version: 8 }],
      blocks: [],
    });
  });
});

describe('a session that the engine gave up', () => {
  test('is followed by another one, and the worker stays', async () => {
    await start();
    engine.spawnLocal();
    const first = await engine.welcome();
    await engine.send({ kind: 'bye', reason: 'expelled', message: 'silent for 4000 ms' });
    const again = await engine.welcome();
    expect(again.workerId).toBe(first.workerId);
    await engine.define(0, NOOP);
    await engine.run({ program: 0, inputs: [KEY] });
    expect(await engine.results(1)).toHaveLength(1);
  });
});

describe('a worker that a person joins', () => {
  test('shows a key of its own, keeps it, and counts its starts', async () => {
    const seen: string[] = [];
    await start({ isRemote: true, admits: (key) => seen.push(key) > 0 });
    const child = engine.spawnJoin('secret', '--no-pay');
    const hello = await engine.welcome();
    expect(seen).toContain(hello.workerId);
    const file = join(engine.home, 'worker', 'identity-1.json');
    expect(statSync(file).mode & 0o777).toBe(0o600);
    const identity = JSON.parse(readFileSync(file, 'utf8')) as { publicKey: string };
    expect(z85ToHex(identity.publicKey)).toBe(hello.workerId);
    child.kill('SIGKILL');
    await ended(child);
    engine.spawnJoin('secret', '--no-pay');
    const again = await engine.welcome();
    expect(again).toMatchObject({ workerId: hello.workerId, incarnation: hello.incarnation + 1 });
  });

  test('goes through a SOCKS proxy, which resolves the name too, and past it not at all', async () => {
    await start({ isRemote: true });
    const socks = await SocksServer.open({ 'cluster.onion': '127.0.0.1' });
    try {
      const { port } = new URL(engine.endpoint);
      engine.spawnJoinAs('cluster.onion', '--proxy', `socks5://${socks.address}`);
      await engine.welcome();
      expect(socks.requests[0]).toBe(`cluster.onion:${port}`);
      await engine.define(0, NOOP);
      const before = socks.bytes;
      await engine.run({ program: 0, inputs: [KEY] });
      expect(await engine.results(1)).toHaveLength(1);
      expect(socks.bytes).toBeGreaterThan(before);
    } finally {
      socks.close();
    }
  });

  test('beside another one gets an identity of its own', async () => {
    await start({ isRemote: true });
    engine.spawnJoin('secret', '--no-pay');
    const first = await engine.welcome();
    engine.spawnJoin('secret', '--no-pay');
    const second = await engine.welcome();
    expect(second.workerId).not.toBe(first.workerId);
  });

  test('tells its owner what happens, drains at Ctrl-C and sums up', async () => {
    await start({ isRemote: true });
    const child = engine.spawnJoin('secret', '--no-pay', '--name', 'lab 3');
    const end = ended(child);
    await engine.welcome();
    await engine.define(0, powers(512, 4));
    await engine.putState(1, 1, new Float32Array(512 * 512));
    await engine.send({ kind: 'meter', committedUnits: 3, earnedUnits: 12_345n });
    await engine.run({ program: 0, inputs: [state(1)], units: 20 });
    const first = await engine.next('done');
    child.kill('SIGINT');
    let units = first.units.length;
    for (let reason = ''; reason !== 'drain';) {
      const message = await engine.either('done', 'bye');
      if (message.kind === 'done') units += message.units.length;
      else reason = message.reason;
    }
    units += (await engine.results(20 - units)).length;
    expect(units).toBe(20);
    expect(await engine.next('bye')).toMatchObject({ reason: 'leave' });
    const { code, output } = await end;
    expect(code).toBe(0);
    expect(output).toMatch(/joined as w-test/);
    expect(output).toMatch(/finishing the units in work/);
    expect(output).toMatch(/left tcp:.*: 20 units, .*earned 12,345/);
  });

  test('leaves at once at the second Ctrl-C, in the middle of a long unit', async () => {
    await start({ isRemote: true });
    const child = engine.spawnJoin('secret', '--no-pay');
    const end = ended(child);
    await engine.welcome();
    await engine.define(0, powers(1024, 200));
    await engine.putState(1, 1, new Float32Array(1024 * 1024));
    await engine.run({ program: 0, inputs: [state(1)] });
    await engine.send({ kind: 'ping', seq: 1, sentMs: 1 });
    expect(await engine.next('pong')).toMatchObject({ queuedUnits: 1 });
    child.kill('SIGINT');
    expect(await engine.next('bye')).toMatchObject({ reason: 'drain' });
    child.kill('SIGINT');
    expect(await engine.next('bye')).toMatchObject({ reason: 'leave' });
    const { code, output } = await end;
    // The process that computes is ended in the middle of its unit; this one ends in good order.
    expect(code).toBe(0);
    expect(output).toMatch(/left tcp:/);
    expect(output).not.toMatch(/terminate/);
  });

  test('with a refused invite ends with the reason', async () => {
    await start({ isRemote: true });
    const child = engine.spawnJoin('old', '--no-pay');
    const end = ended(child);
    const hello = await engine.next('hello');
    expect(hello.token).toBe('old');
    await engine.send({ kind: 'bye', reason: 'refused', message: 'this invite was withdrawn' });
    const { code, output } = await end;
    expect(code).toBe(1);
    expect(output).toContain('this invite was withdrawn');
  });

  test('with a key that the engine does not admit ends with the reason', async () => {
    await start({ isRemote: true, admits: () => false });
    const { code, output } = await ended(engine.spawnJoin('secret', '--no-pay'));
    expect(code).toBe(1);
    expect(output).toMatch(/does not accept this invite/);
  });

  test('with an invite of another engine ends with the reason', async () => {
    await start({ isRemote: true });
    Object.assign(engine.keys, { publicKey: 'rq:rM>}U?@Lns47E1%kR.o@n%FcmmsL/@{H8]yf7' });
    const { code, output } = await ended(engine.spawnJoin('secret', '--no-pay'));
    expect(code).toBe(1);
    expect(output).toMatch(/key is not that of the engine/);
  });

  test('says what is wrong with arguments, with the usage and exit code 2', async () => {
    await start({ isRemote: true });
    const { code, output } = await ended(
      engine.spawnJoin('secret', '--no-pay', '--backend', 'abacus'),
    );
    expect(code).toBe(2);
    expect(output).toMatch(/--backend abacus: expected auto or one of onnx-cpu/);
    expect(output).toMatch(/npm run worker -- join <invite>/);
  });
});

test.each(['thread', 'process'])(
  'a compute %s that hangs is replaced, and the next one works',
  async (isolation) => {
    await start();
    const program = join(__dirname, 'lib', 'replaceThread.mjs');
    const child = spawn(process.execPath, [program, isolation]);
    const { code, output } = await ended(child);
    expect({ code, happened: JSON.parse(output) as unknown }).toEqual({
      code: 0,
      happened: [
        {
          crashed: `the compute ${isolation} of the worker was replaced: a unit ran for more than 0 s`,
          retryable: true,
        },
        { batch: 2, status: 'ok' },
      ],
    });
  },
);

test('the tfjs backend does the same work', async () => {
  await start();
  engine.spawnLocal('--backend', 'tfjs-cpu');
  expect((await engine.welcome()).capabilities.backend).toBe('tfjs-cpu');
  await engine.define(0, reciprocal(2));
  await engine.putState(1, 1, Float32Array.of(2, -4));
  await engine.run({ program: 0, inputs: [state(1)] });
  expect(floatsOf((await soon(engine.next('done'), 'result')).units[0])).toEqual([0.5, -0.25]);
});

test('a message larger than a frame is not even read', async () => {
  await start();
  engine.spawnLocal();
  await engine.welcome();
  await engine.sendFrames([new Uint8Array(LIMITS.socketFrameBytes + 1)]);
  // ZeroMQ drops the connection; the worker comes back with a new HELLO.
  expect(await engine.next('hello')).toMatchObject({ token: 'secret' });
});
