/**
 * @file ONNX Runtime's native session, called synchronously. The package's public `run` defers every call to the next
 * turn of the event loop and validates feeds by name: 10 µs and a promise per unit, on a thread that has nothing else to do.
 * This file is all that knows of the package's inside.
 */
import { env } from 'onnxruntime-node';
import type { InferenceSession, Tensor } from 'onnxruntime-node';
import { binding, initOrt } from 'onnxruntime-node/dist/binding.js';
import type { OnnxSession } from './runtime.js';

export { Tensor as OrtTensor } from 'onnxruntime-node';

export const ORT_VERSION: string = env.versions.node ?? 'unknown';

/** @throws Error from ONNX Runtime when the model is malformed or an op is not supported. */
export function createNativeSession(
  model: Uint8Array,
  options: InferenceSession.SessionOptions,
): OnnxSession<Tensor> {
  initOrt();
  const session = new binding.InferenceSession();
  // A model of its own buffer: the binding takes an ArrayBuffer, never a shared one.
  const bytes = model.slice();
  session.loadModel(bytes.buffer, 0, bytes.byteLength, options);
  return {
    run: (feeds, fetches) => session.run(feeds, fetches, {}),
    dispose: () => session.dispose(),
  };
}
