/**
 * @file Light workers for `npm run bench -- scale`: many real sockets that speak the real protocol in one process, and answer
 * each unit at once without computing it. Started by path with [endpoint, number]; ends with its parent.
 */
import { randomBytes } from 'node:crypto';
import type { EngineToWorker, RunMessage, WorkerId, WorkerToEngine } from '@ravenlab/protocol';
import { decodeEngineMessage, encodeWorkerMessage, messageBytes } from '@ravenlab/protocol';
import { LocalLink } from '../../worker/src/net/localLink.js';

/** What a unit is said to take; the scheduler gives out work by it. */
const CLAIMED_US = 2_000;
const RESULT = new Uint8Array(4);

class Peer {
  private readonly link: LocalLink;
  private consumedBytes = 0;
  private onWelcome: (() => void) | null = null;

  constructor(endpoint: string) {
    this.link = new LocalLink(endpoint, {
      up: () => {
        this.introduce();
      },
      down: () => {
        fail(new Error('the engine closed a connection'));
      },
      message: (frames) => {
        const decoded = decodeEngineMessage(frames);
        if (!decoded.ok) throw decoded.error;
        this.take(decoded.value, frames);
      },
      refused: fail,
      failed: fail,
    });
  }

  /** Resolves when the engine has welcomed it. */
  join(): Promise<void> {
    return new Promise((resolve) => {
      this.onWelcome = resolve;
      this.link.open();
    });
  }

  private introduce(): void {
    this.send({
      kind: 'hello',
      workerId: randomBytes(32).toString('hex') as WorkerId,
      token: '',
      incarnation: 1,
      name: '',
      capabilities: {
        backend: 'onnx-cpu',
        device: 'light peer',
        threads: 1,
        memoryBytes: 2 ** 30,
        gflops: 10,
        dtypes: ['float32', 'int32', 'bool'],
        bitClass: 'light peer',
      },
      payee: null,
      held: null,
    });
  }

  private take(message: EngineToWorker, frames: readonly Uint8Array[]): void {
    switch (message.kind) {
      case 'welcome':
        this.onWelcome?.();
        return;
      case 'run':
        this.answer(message);
        break;
      case 'ping': {
        const { seq, sentMs } = message;
        this.send({ kind: 'pong', seq, sentMs, queuedUnits: 0, busyMs: 0, heldBytes: 0 });
        return;
      }
      case 'bye':
        throw new Error(`the engine said goodbye: ${message.message}`);
      case 'program':
      case 'blob':
        break;
      default:
        return;
    }
    this.consumedBytes += messageBytes(frames);
    this.send({ kind: 'credit', consumedBytes: this.consumedBytes });
  }

  private answer({ execution, units }: RunMessage): void {
    this.send({
      kind: 'done',
      execution,
      outputBytes: [RESULT.byteLength],
      units: units.map(({ lease }) => ({
        lease,
        computeUs: CLAIMED_US,
        status: 'ok',
        outputs: [[RESULT]],
        digest: null,
      })),
    });
  }

  private send(message: WorkerToEngine): void {
    this.link.send(encodeWorkerMessage(message));
  }
}

function fail(error: unknown): never {
  console.error(error);
  process.exit(1);
}

const [endpoint = '', count = '1'] = process.argv.slice(2);
process.on('disconnect', () => process.exit(0));
try {
  // One by one: an engine lets few strangers wait for admission.
  for (let i = 0; i < Number(count); i++) await new Peer(endpoint).join();
} catch (error) {
  fail(error);
}
