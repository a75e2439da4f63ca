/**
 * @file What people and strangers get wrong, through the real worker: each is a clear error, the worker lives, and goes on.
 *
 * @jest-environment ./test/support/nativeArrays.ts
 */
import { createHash } from 'node:crypto';
import type { DoneUnit, Program, ProgramHash, ProgramNode, RunInput } from '@ravenlab/protocol';
import { encodeProgram } from '@ravenlab/protocol';
import { ScriptedEngine, ended } from './lib/scriptedEngine.js';

let engine: ScriptedEngine;

beforeEach(async () => {
  engine = await ScriptedEngine.start({ isRemote: true });
});

afterEach(() => engine.stop());

const KEY: RunInput = { kind: 'key', seedLow: 1, seedHigh: 2, step: 3 };
const KEY_TYPE = { dtype: 'int32', shape: [4] } as const;

/** key → sum of its words over an axis. */
function sumOver(axis: number): Program {
  const node: ProgramNode = {
    op: 'sum',
    inputs: [0],
    params: { axes: [axis], keepDims: false },
    type: { dtype: 'int32', shape: [] },
  };
  return { inputs: [KEY_TYPE], nodes: [node], outputs: [1] };
}

/** 256 tensors of 4 GiB, alive at once: 1 TiB. */
function terabyte(): Program {
  const type = { dtype: 'float32', shape: [2 ** 30] } as const;
  const nodes = Array.from({ length: 256 }, (_, value): ProgramNode => ({
    op: 'full',
    inputs: [],
    params: { shape: [...type.shape], dtype: 'float32', value },
    type,
  }));
  return { inputs: [KEY_TYPE], nodes, outputs: nodes.map((_, index) => index + 1) };
}

async function join(): Promise<ReturnType<ScriptedEngine['spawnJoin']>> {
  const child = engine.spawnJoin('secret', '--no-pay', '--memory', '256M');
  await engine.welcome();
  return child;
}

async function answerTo(program: number): Promise<DoneUnit | undefined> {
  await engine.run({ program, inputs: [KEY] });
  return (await engine.next('done')).units[0];
}

test('a program that asks for a terabyte is refused before a byte of it is allocated', async () => {
  const child = await join();
  await engine.define(0, terabyte());
  expect(await answerTo(0)).toMatchObject({
    status: 'failed',
    error: {
      code: 'limit',
      retryable: true,
      message: expect.stringMatching(
        /takes 2 TiB to run does not fit: .* of 256 MiB are in use; .*larger --memory/,
      ) as string,
    },
  });
  await engine.define(1, sumOver(0));
  expect(await answerTo(1)).toMatchObject({ status: 'ok' });
  expect(child.exitCode).toBeNull();
});

test('an attribute out of its range is refused by its name, whatever the rest of the program says', async () => {
  const child = await join();
  const bytes = encodeProgram(sumOver(0));
  const good = encodeProgram(sumOver(1));
  // Where two programs differ is the attribute: an axis that no tensor of one axis has.
  expect(bytes.filter((byte, at) => byte !== good[at])).toHaveLength(1);
  const hash = createHash('sha256').update(good).digest('hex') as ProgramHash;
  await engine.send({ kind: 'program', index: 0, hash, bytes: [good] });
  const refused = await answerTo(0);
  expect(refused).toMatchObject({ status: 'failed', error: { retryable: false } });
  expect(JSON.stringify(refused)).toMatch(/sum.*ax[ei]s/);
  await engine.define(1, sumOver(0));
  expect(await answerTo(1)).toMatchObject({ status: 'ok' });
  expect(child.exitCode).toBeNull();
});

test('a backend that there is not is named, with those that there are', async () => {
  const { code, output } = await ended(engine.spawnJoinAs('127.0.0.1', '--backend', 'abacus'));
  expect(code).toBe(2);
  expect(output).toMatch(/--backend abacus: expected auto or one of .*onnx-cpu, .*tfjs-cpu/);
});

test('a machine without a Vulkan driver is told so, and what to install', async () => {
  const before = process.env['VK_ICD_FILENAMES'];
  process.env['VK_ICD_FILENAMES'] = '/dev/null';
  try {
    const child = engine.spawnJoinAs('127.0.0.1', '--no-pay', '--backend', 'tfjs-webgpu');
    const { code, output } = await ended(child);
    expect(code).toBe(1);
    expect(output).toMatch(
      /backend tfjs-webgpu does not start here: no WebGPU adapter.*no usable Vulkan driver; to make it available: install the Vulkan loader/,
    );
  } finally {
    if (before === undefined) delete process.env['VK_ICD_FILENAMES'];
    else process.env['VK_ICD_FILENAMES'] = before;
  }
});
