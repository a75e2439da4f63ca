/**
 * @file The life of the engine process: made from its environment, started, ended when nobody needs it or it cannot go on. It outlives
 * its kernel for a while and ends by itself; its life hangs on no pipe.
 */
import { tmpdir } from 'node:os';
import { fileURLToPath } from 'node:url';
import type { Worker } from 'node:worker_threads';
import * as zmq from 'zeromq';
import { ENGINE_LIMITS } from '@ravenlab/protocol';
import { chainChoice } from './chain/chainChoice.js';
import { engineChain } from './chain/engineChain.js';
import { priceOfChoice } from './chain/prices.js';
import { DEFAULT_ENGINE_HOST, readEngineEnv } from './engineEnv.js';
import { Engine } from './engine.js';
import { SOCKET_FOLDER, dataHome, newEngineId } from './engineId.js';
import { sweepSockets } from './socketOwner.js';

/** What closing may take, image and ledger included; ms. */
const CLOSE_MS = 5_000;

const log = (text: string): void => {
  process.stderr.write(`${text}\n`);
};

/** With the stack: nobody will see this process again. */
const textOf = (error: unknown): string =>
  error instanceof Error ? (error.stack ?? error.message) : JSON.stringify(error);

function setUpProcess(): void {
  zmq.context.blocky = false;
  zmq.context.ioThreads = 2;
  // One for each worker of another machine.
  zmq.context.maxSockets = 2 * (ENGINE_LIMITS.members + ENGINE_LIMITS.strangers);
  // Whoever read them may be gone.
  process.stdout.on('error', () => undefined);
  process.stderr.on('error', () => undefined);
  // Ctrl-C in a terminal reaches the whole process group; the kernel decides what it means.
  process.on('SIGINT', () => undefined);
  process.on('SIGHUP', () => undefined);
}

/**
 * Starts the engine that the environment describes and says on stdout where it listens. The process ends when the engine does.
 * @param journalThread runs journalThread.js.
 */
export async function runEngine(journalThread: Worker): Promise<void> {
  setUpProcess();
  const env = readEngineEnv(process.env);
  const engineId = env.engineId ?? newEngineId();
  const chain = chainChoice(process.env, dataHome());
  let exitCode = 0;
  /** Ends once; a part that does not end in time does not keep the process. */
  const end = async (isForgetting: boolean): Promise<void> => {
    const timer = setTimeout(() => process.exit(exitCode), CLOSE_MS);
    timer.unref();
    try {
      await engine.close(isForgetting);
    } catch (error) {
      log(`engine did not close cleanly: ${String(error)}`);
    }
    process.exit(exitCode);
  };
  const engine = new Engine({
    engineId,
    localWorkers: env.localWorkers,
    localBackends: env.localBackends,
    workerCommand: [
      process.execPath,
      fileURLToPath(new URL('../../../worker/dist/cli.js', import.meta.url)),
    ],
    host: env.host ?? DEFAULT_ENGINE_HOST,
    journal: env.journal,
    journalThread,
    chain: engineChain(chain, engineId, log),
    price: priceOfChoice(chain),
    lingerMs: env.lingerMs,
    isAuditing: env.isAuditing,
    log,
    onFatal: (error) => {
      exitCode = 1;
      log(textOf(error));
      void end(false);
    },
    onEnd: ({ isForgetting }) => void end(isForgetting),
  });
  process.on('SIGTERM', () => void end(false));
  try {
    const endpoint = await engine.start();
    process.stdout.write(`${JSON.stringify({ endpoint, engineId })}\n`);
    // Nobody waits for it, and what cannot be swept harms nobody.
    sweepSockets(tmpdir(), SOCKET_FOLDER).catch((error: unknown) => {
      log(`sockets of earlier engines could not be swept: ${String(error)}`);
    });
  } catch (error) {
    log(textOf(error));
    process.exit(1);
  }
}
