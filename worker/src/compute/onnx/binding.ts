/**
 * @file ONNX Runtime's native session, called synchronously. The package's public `run` defers every call to the next
 * turn of the event loop and validates feeds by name: 10 µs and a promise per unit, on a thread that has nothing else to do.
 * This file is all that knows of the package's inside.
 */
import { env } from 'onnxruntime-node';
import type { InferenceSession, Tensor } from 'onnxruntime-node';
import { binding, initOrt } from 'onnxruntime-node/dist/binding.js';
import { SILENT } from '../backendTable.js';
import { outputInFront } from './modelBuilder.js';
import type { OnnxSession } from './runtime.js';

export { Tensor as OrtTensor } from 'onnxruntime-node';

export const ORT_VERSION: string = env.versions.node ?? 'unknown';

/**
 * The package makes a fresh array of every output and copies it there, also where it was written into an array of ours: most of a
 * millisecond for 3 MB of gradients. It stops at the first one whose type JavaScript has not got, and says so. Every model gets one such
 * output, in front, and who wants no fresh arrays asks for it. A package that knows the type one day makes the copies again.
 */
const STOP = 'stop';
const BFLOAT16 = 16;
const STOP_SIGN = outputInFront(STOP, BFLOAT16);
/** Stopping takes some 13 µs, as long as to copy so much. */
const STOP_BYTES = 65_536;
const STOPPED = `Tensor type (${String(BFLOAT16)}) is not supported`;

/**
 * It reads the process's own variables, of which a thread has a copy that was made when it started: to set one here may be too late.
 *
 * @throws Error when ONNX Runtime would phone home and nobody has said that it may.
 */
function refuseTelemetry(): void {
  for (const [name, value] of Object.entries(SILENT)) {
    if (process.env[name] !== undefined) continue;
    throw new Error(
      `ONNX Runtime is not loaded without ${name}, which keeps it from reporting to its maker; set ${name}=${value}`,
    );
  }
}

/**
 * @throws Error from ONNX Runtime when the model is malformed or an op is not supported; and when it is not told to report to
 *   nobody.
 */
export function createNativeSession(
  model: Uint8Array,
  options: InferenceSession.SessionOptions,
): OnnxSession<Tensor> {
  refuseTelemetry();
  initOrt();
  const session = new binding.InferenceSession();
  // A model of its own buffer: the binding takes an ArrayBuffer, never a shared one.
  const bytes = new Uint8Array(STOP_SIGN.length + model.length);
  bytes.set(STOP_SIGN);
  bytes.set(model, STOP_SIGN.length);
  session.loadModel(bytes.buffer, 0, bytes.byteLength, options);
  return {
    run: (feeds, fetches) => {
      if (!isWorthStopping(Object.values(fetches))) return session.run(feeds, fetches, {});
      try {
        return session.run(feeds, { [STOP]: null, ...fetches }, {});
      } catch (error) {
        if (String(error).includes(STOPPED)) return {};
        throw error;
      }
    },
    dispose: () => session.dispose(),
  };
}

/** Whether all outputs have a place, and are more than it costs not to copy them. */
function isWorthStopping(fetches: readonly (Tensor | null)[]): boolean {
  let bytes = 0;
  for (const tensor of fetches) {
    if (tensor === null) return false;
    bytes += (tensor.data as Float32Array).byteLength;
  }
  return bytes >= STOP_BYTES;
}
