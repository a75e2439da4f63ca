/** @file What the environment says of an engine; what it does with it is not tested here. */
import { readEngineEnv } from '../../../kernel/src/engine/engineEnv.js';

test('local workers take what the environment names, in its order', () => {
  const { localBackends } = readEngineEnv({ RAVENLAB_LOCAL_BACKENDS: 'onnx-wasm, tfjs-cpu' });
  expect(localBackends).toEqual(['onnx-wasm', 'tfjs-cpu']);
});

test('without a word about it a worker decides by itself', () => {
  expect(readEngineEnv({}).localBackends).toEqual([]);
  expect(readEngineEnv({ RAVENLAB_LOCAL_BACKENDS: '' }).localBackends).toEqual([]);
});

test('a backend that does not exist is refused, with those that do', () => {
  expect(() => readEngineEnv({ RAVENLAB_LOCAL_BACKENDS: 'onnx-cpu,metal' })).toThrow(
    /names 'metal', expected some of .*onnx-wasm/,
  );
});
