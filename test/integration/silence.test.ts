/**
 * @file Nothing phones home: ONNX Runtime, which would, leaves no trace of having tried. Real worker processes with little of an
 * environment, since a machine that says it is a CI's is left alone.
 */
import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Program } from '@ravenlab/protocol';
import { ScriptedEngine, ended } from './lib/scriptedEngine.js';

const SHAPE = [4];
const TYPE = { dtype: 'float32', shape: SHAPE } as const;
const PROGRAM: Program = {
  inputs: [],
  nodes: [
    { op: 'full', inputs: [], params: { shape: SHAPE, value: 1, dtype: 'float32' }, type: TYPE },
  ],
  outputs: [0],
};
const KEPT = ['PATH', 'SystemRoot', 'RAVENLAB_CHAIN'];

const environment = process.env;
let home: string;
let engine: ScriptedEngine;

beforeEach(() => {
  home = mkdtempSync(join(tmpdir(), 'ravenlab-silence-'));
  const kept = Object.entries(environment).filter(([name]) => KEPT.includes(name));
  // Where the library keeps what it has to tell, and its log.
  const places = { HOME: home, XDG_CACHE_HOME: home, TMPDIR: home };
  process.env = { ...Object.fromEntries(kept), ...places };
});

afterEach(async () => {
  await engine.stop();
  process.env = environment;
  rmSync(home, { recursive: true, force: true });
});

test.each(['of the engine', 'invited'])('a worker %s computes and tells nobody', async (kind) => {
  const isInvited = kind === 'invited';
  engine = await ScriptedEngine.start({ isRemote: isInvited });
  const child = isInvited
    ? engine.spawnJoin('secret', '--no-pay')
    : engine.spawnLocal('--backend', 'onnx-cpu');
  await engine.welcome();
  await engine.define(1, PROGRAM);
  await engine.run({ program: 1, inputs: [] });
  expect(await engine.results(1)).toEqual([expect.objectContaining({ status: 'ok' })]);
  child.kill('SIGTERM');
  await ended(child);
  expect(readdirSync(home)).toEqual([]);
});
