/** @file Entry of the thread that hosts a backend whose results come later: takes a request, answers, wakes who sleeps for it. */
import type { MessagePort } from 'node:worker_threads';
import { parentPort, workerData } from 'node:worker_threads';
import { RavenError, toWireError } from '@ravenlab/protocol';
import type { TensorData } from '@ravenlab/protocol';
import type { AsyncBackend, AsyncExecutable } from './asyncBackend.js';
import type { FromHost, HostSettings, HostStart, HostedName, ToHost } from './hostMessages.js';

const OPENERS: Readonly<Record<HostedName, () => Promise<AsyncBackend>>> = {
  'tfjs-webgpu': async () => {
    const { openWebgpuBackend } = await import('../tfjs/webgpuBackend.js');
    return openWebgpuBackend();
  },
  'tfjs-node': () => tensorflow('tfjs-node'),
  'tfjs-node-gpu': () => tensorflow('tfjs-node-gpu'),
};

async function tensorflow(name: 'tfjs-node' | 'tfjs-node-gpu'): Promise<AsyncBackend> {
  const { openTensorflowBackend } = await import('../tfjs/tensorflowBackend.js');
  return openTensorflowBackend(name);
}

class Host {
  private readonly port: MessagePort;
  private readonly backend: AsyncBackend;
  private readonly answers: Int32Array;
  private readonly executables = new Map<number, AsyncExecutable>();

  constructor(port: MessagePort, backend: AsyncBackend, answers: Int32Array) {
    this.port = port;
    this.backend = backend;
    this.answers = answers;
  }

  async take(message: ToHost): Promise<void> {
    if (message.kind === 'stop') {
      this.backend.dispose();
      // Dawn's own handles would keep the thread.
      process.exit(0);
    }
    try {
      const outputs = await this.carryOut(message);
      const buffers = new Set(outputs.map((data) => data.buffer as ArrayBuffer));
      this.answer({ kind: 'done', outputs }, [...buffers]);
    } catch (error) {
      this.answer({ kind: 'failed', error: toWireError(error) }, []);
    }
  }

  private async carryOut(message: Exclude<ToHost, { kind: 'stop' }>): Promise<TensorData[]> {
    switch (message.kind) {
      case 'compile':
        this.executables.set(message.executable, this.backend.compile(message.program));
        return [];
      case 'run':
        return this.executable(message.executable).run(message.inputs);
      case 'dispose':
        this.executable(message.executable).dispose();
        this.executables.delete(message.executable);
        return [];
    }
  }

  private executable(id: number): AsyncExecutable {
    const executable = this.executables.get(id);
    if (executable === undefined) {
      throw new RavenError('internal', `executable ${id} is not here`, { fault: 'local' });
    }
    return executable;
  }

  private answer(message: FromHost, transfer: ArrayBuffer[]): void {
    this.port.postMessage(message, transfer);
    Atomics.add(this.answers, 0, 1);
    Atomics.notify(this.answers, 0);
  }
}

async function main(parent: MessagePort, settings: HostSettings): Promise<void> {
  const start = (message: HostStart): void => parent.postMessage(message);
  try {
    const backend = await OPENERS[settings.backend]();
    const host = new Host(settings.port, backend, new Int32Array(settings.answers));
    settings.port.on('message', (message: ToHost) => void host.take(message));
    const { deviceName, version, isSoftware } = backend;
    start({ kind: 'open', deviceName, version, isSoftware });
  } catch (error) {
    start({ kind: 'closed', reason: error instanceof Error ? error.message : String(error) });
    setImmediate(() => process.exit(0));
  }
}

if (parentPort === null) throw new Error('hostThread is the entry of a thread, not of a process');
await main(parentPort, workerData as HostSettings);
