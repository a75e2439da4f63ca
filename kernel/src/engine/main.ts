/**
 * @file Entry of the engine process: starts an engine and says where it listens. It outlives its kernel for a while and ends by
 * itself; its life hangs on no pipe.
 */
import { fileURLToPath } from 'node:url';
import * as zmq from 'zeromq';
import { ENGINE_LIMITS } from '@ravenlab/protocol';
import { chainChoice } from './chain/chainChoice.js';
import { engineChain } from './chain/engineChain.js';
import { priceOfChoice } from './chain/prices.js';
import { DEFAULT_ENGINE_HOST, readEngineEnv } from './engineEnv.js';
import { Engine } from './engine.js';
import { dataHome, newEngineId } from './engineId.js';
import { tuneGarbageCollection } from './gcFlags.js';

tuneGarbageCollection();

zmq.context.blocky = false;
zmq.context.ioThreads = 2;
// One for each worker of another machine.
zmq.context.maxSockets = 2 * (ENGINE_LIMITS.members + ENGINE_LIMITS.strangers);

/** What closing may take, image and ledger included; ms. */
const CLOSE_MS = 5_000;

const log = (text: string): void => {
  process.stderr.write(`${text}\n`);
};
// Whoever read them may be gone.
process.stdout.on('error', () => undefined);
process.stderr.on('error', () => undefined);

/** With the stack: nobody will see this process again. */
const textOf = (error: unknown): string =>
  error instanceof Error ? (error.stack ?? error.message) : JSON.stringify(error);

const env = readEngineEnv(process.env);
const engineId = env.engineId ?? newEngineId();
let exitCode = 0;

const chain = chainChoice(process.env, dataHome());
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

/** Ends once; a part that does not end in time does not keep the process. */
async function end(isForgetting: boolean): Promise<void> {
  const timer = setTimeout(() => process.exit(exitCode), CLOSE_MS);
  timer.unref();
  try {
    await engine.close(isForgetting);
  } catch (error) {
    log(`engine did not close cleanly: ${String(error)}`);
  }
  process.exit(exitCode);
}

// Ctrl-C in a terminal reaches the whole process group; the kernel decides what it means.
process.on('SIGINT', () => undefined);
process.on('SIGHUP', () => undefined);
process.on('SIGTERM', () => void end(false));

try {
  const endpoint = await engine.start();
  process.stdout.write(`${JSON.stringify({ endpoint, engineId })}\n`);
} catch (error) {
  log(textOf(error));
  process.exit(1);
}
