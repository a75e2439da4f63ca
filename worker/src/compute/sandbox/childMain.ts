/**
 * @file Entry of the compute process: hands on what comes through the pipe to the compute thread, and back. It knows no key and
 * no address; when the pipe closes, however that happens, it ends.
 */
import { Socket } from 'node:net';
import { Worker } from 'node:worker_threads';
import { FrameSocket, WORKER_LIMITS } from '@ravenlab/protocol';
import type { ComputeSettings, FromCompute } from '../computeMessages.js';
import type { ChildSettings, FromChild } from './pipeMessages.js';
import { decodeToChild, encodeFromChild } from './pipeMessages.js';
import { FROM_CHILD_FRAMES, PIPE, pipeOptions } from './pipe.js';

const MS_PER_S = 1000;

/** A signal, because exit() stops the compute thread, and ONNX Runtime's binding aborts when its thread is stopped in a run. */
function endAtOnce(): never {
  process.kill(process.pid, 'SIGKILL');
  throw new Error('still here after SIGKILL');
}

function main(settings: ChildSettings): void {
  // A terminal's Ctrl-C is the worker's to answer.
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const)
    process.on(signal, () => undefined);
  const busySince = new Int32Array(new SharedArrayBuffer(Int32Array.BYTES_PER_ELEMENT));
  const workerData: ComputeSettings = { ...settings, busySince: busySince.buffer };
  const thread = new Worker(new URL('../computeThread.js', import.meta.url), { workerData });
  const pipe = new Socket({ fd: PIPE, readable: true, writable: true });
  const connection = new FrameSocket(
    pipe,
    {
      onMessage: (frames) => {
        const { message, transfer } = decodeToChild(frames);
        thread.postMessage(message, transfer);
      },
      onClose: endAtOnce,
    },
    pipeOptions(),
  );
  const say = (message: FromChild): void => {
    for (const frames of encodeFromChild(message, FROM_CHILD_FRAMES)) connection.send(frames);
  };
  thread.on('message', (message: FromCompute) => say(message));
  thread.on('error', (error) => {
    process.stderr.write(`${error.message}\n`);
    process.exitCode = 1;
  });
  thread.on('exit', () => {
    clearInterval(beats);
    // What it said last leaves first; then nothing keeps the process.
    pipe.end(() => process.exit());
  });
  const beat = (): void => {
    const since = Atomics.load(busySince, 0);
    const busyMs = since === 0 ? 0 : Math.floor(process.uptime() * MS_PER_S) + 1 - since;
    say({ kind: 'beat', busyMs: Math.max(0, busyMs) });
  };
  const beats = setInterval(beat, WORKER_LIMITS.sandboxBeatMs);
}

main(JSON.parse(process.argv[2] ?? '') as ChildSettings);
