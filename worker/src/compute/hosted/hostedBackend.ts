/**
 * @file A backend that answers at once over one whose results come later: the device lives on a thread of its own, and this
 * one sleeps until it has answered. Units run one after another on the compute thread, which has nothing else to do.
 */
import { MessageChannel, Worker, receiveMessageOnPort } from 'node:worker_threads';
import type { MessagePort } from 'node:worker_threads';
import type { Program, TensorData } from '@ravenlab/protocol';
import { RavenError, WORKER_LIMITS, fromWireError } from '@ravenlab/protocol';
import type { Backend, Executable } from '../backend.js';
import type { FromHost, HostSettings, HostStart, HostedName, ToHost } from './hostMessages.js';

/** @param threadFile the compiled hostThread, when it is not beside this file */
export async function openHosted(
  name: HostedName,
  threadFile: URL = new URL('./hostThread.js', import.meta.url),
): Promise<Backend> {
  const { port1, port2 } = new MessageChannel();
  const answers = new SharedArrayBuffer(Int32Array.BYTES_PER_ELEMENT);
  const workerData: HostSettings = { backend: name, answers, port: port2 };
  const thread = new Worker(threadFile, { workerData, transferList: [port2] });
  const start = await startOf(thread);
  if (start.kind === 'closed') throw new Error(start.reason);
  // Whoever uses it keeps the thread alive, and it ends with whoever uses it.
  thread.unref();
  port1.unref();
  return new HostedBackend(name, start, new HostLine(port1, new Int32Array(answers)));
}

function startOf(thread: Worker): Promise<HostStart> {
  return new Promise((resolve, reject) => {
    thread.once('message', resolve);
    thread.once('error', reject);
    thread.once('exit', (code) => reject(new Error(`its thread ended with code ${code}`)));
  });
}

/** Questions and answers over a port, one at a time; asking blocks. */
class HostLine {
  private readonly port: MessagePort;
  private readonly answers: Int32Array;
  private isDead = false;

  constructor(port: MessagePort, answers: Int32Array) {
    this.port = port;
    this.answers = answers;
  }

  ask(question: Exclude<ToHost, { kind: 'stop' }>): TensorData[] {
    if (this.isDead) throw dead();
    const seen = Atomics.load(this.answers, 0);
    this.port.postMessage(question);
    if (Atomics.wait(this.answers, 0, seen, WORKER_LIMITS.unitWallMs) === 'timed-out') {
      this.isDead = true;
      throw dead();
    }
    const received = receiveMessageOnPort(this.port) as { message: FromHost } | undefined;
    if (received === undefined) throw dead();
    const { message } = received;
    if (message.kind === 'failed') throw fromWireError(message.error);
    return [...message.outputs];
  }

  close(): void {
    const stop: ToHost = { kind: 'stop' };
    this.port.postMessage(stop);
    this.port.close();
  }
}

function dead(): RavenError {
  const seconds = WORKER_LIMITS.unitWallMs / 1000;
  return new RavenError('internal', `the device did not answer within ${seconds} s`, {
    fault: 'local',
  });
}

class HostedBackend implements Backend {
  readonly name: HostedName;
  readonly deviceName: string;
  readonly version: string;
  readonly isSoftware: boolean;
  private readonly line: HostLine;
  private made = 0;

  constructor(name: HostedName, start: Extract<HostStart, { kind: 'open' }>, line: HostLine) {
    this.name = name;
    this.deviceName = start.deviceName;
    this.version = start.version;
    this.isSoftware = start.isSoftware;
    this.line = line;
  }

  compile(program: Program): Executable {
    const executable = this.made++;
    const { line } = this;
    line.ask({ kind: 'compile', executable, program });
    return {
      run: (inputs) => line.ask({ kind: 'run', executable, inputs }),
      release: () => undefined,
      dispose: () => void line.ask({ kind: 'dispose', executable }),
    };
  }

  dispose(): void {
    this.line.close();
  }
}
