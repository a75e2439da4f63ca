/** @file An engine of its own for a bench: built process, private data folder, a fixed number of local workers. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { EngineClient } from '../../kernel/src/engine/client.js';
import type { VitalSigns } from '../../kernel/src/engine/vitals.js';

export interface BenchEngine {
  readonly client: EngineClient;
  /** What `status` says of the engine's inside. */
  status(): Promise<EngineStatus>;
  /** How the engine's process is doing; loop delays since the last call. */
  vitals(): Promise<Vitals>;
  /** The worker that joined first; waits for it. */
  firstWorker(): Promise<SessionStatus>;
  close(): Promise<void>;
}

export interface EngineStatus {
  readonly counters: {
    readonly unitsDone: number;
    readonly leasesLost: number;
    readonly receivedBytes: number;
  };
  readonly sessions: readonly SessionStatus[];
  readonly enginePid: number;
  readonly localPids: readonly number[];
  /** Where local workers connect. */
  readonly endpoint: string;
}

export type Vitals = VitalSigns;

export interface SessionStatus {
  readonly workerId: string;
  readonly threads: number;
  readonly programsSent: number;
  readonly blobBytesSent: number;
  readonly messagesSent: number;
}

/** Starts an engine with `localWorkers` workers and environment variables of its own, and waits for its first answer. */
export async function startBenchEngine(
  localWorkers: number,
  settings: Readonly<Record<string, string>> = {},
): Promise<BenchEngine> {
  const home = mkdtempSync(join(tmpdir(), 'ravenlab-bench-'));
  const client = new EngineClient({
    entry: fileURLToPath(new URL('../../kernel/dist/engine/main.js', import.meta.url)),
    env: {
      ...process.env,
      ...{ RAVENLAB_HOME: home, RAVENLAB_LOCAL_WORKERS: String(localWorkers) },
      ...settings,
    },
    onNotice: ({ text }) => {
      console.error(text);
    },
  });
  const ask = async (op: string): Promise<unknown> => {
    const reply = await client.request({ kind: 'command', op, args: {} });
    if (reply.kind !== 'result') throw new Error(`${op} answered with ${reply.kind}`);
    return reply.value;
  };
  const status = async (): Promise<EngineStatus> => (await ask('status')) as EngineStatus;
  await status();
  return {
    client,
    status,
    vitals: async () => (await ask('vitals')) as Vitals,
    firstWorker: async () => {
      for (;;) {
        const [first] = (await status()).sessions;
        if (first !== undefined) return first;
        await new Promise((wake) => setTimeout(wake, 50));
      }
    },
    close: async () => {
      await client.close();
      rmSync(home, { recursive: true, force: true });
    },
  };
}
