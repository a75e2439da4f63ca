/** @file Entry of the engine process: starts an engine, says where it listens, and ends with the process that started it. */
import { fileURLToPath } from 'node:url';
import * as zmq from 'zeromq';
import { DEFAULT_ENGINE_HOST, readEngineEnv } from './engineEnv.js';
import { Engine } from './engine.js';
import { newEngineId } from './engineId.js';

zmq.context.blocky = false;
zmq.context.ioThreads = 2;

const log = (text: string): void => {
  process.stderr.write(`${text}\n`);
};

/** With the stack: nobody will see this process again. */
const textOf = (error: unknown): string =>
  error instanceof Error ? (error.stack ?? error.message) : JSON.stringify(error);

const env = readEngineEnv(process.env);
const engineId = env.engineId ?? newEngineId();
let exitCode = 0;

const engine = new Engine({
  engineId,
  localWorkers: env.localWorkers,
  workerCommand: [
    process.execPath,
    fileURLToPath(new URL('../../../worker/dist/cli.js', import.meta.url)),
  ],
  host: env.host ?? DEFAULT_ENGINE_HOST,
  log,
  onFatal: (error) => {
    if (error !== null) {
      exitCode = 1;
      log(textOf(error));
    }
    void end();
  },
});

/** Ends once; a part that does not end in time does not keep the process. */
async function end(): Promise<void> {
  const timer = setTimeout(() => process.exit(exitCode), 1_500);
  timer.unref();
  try {
    await engine.close();
  } catch (error) {
    log(`engine did not close cleanly: ${String(error)}`);
  }
  process.exit(exitCode);
}

// The kernel holds the other end: it closes with the kernel, however that ends.
process.stdin.on('end', () => void end());
process.stdin.on('error', () => void end());
process.stdin.resume();
// Ctrl-C in a terminal reaches the whole process group; the kernel decides what it means.
process.on('SIGINT', () => undefined);
process.on('SIGTERM', () => void end());

try {
  const endpoint = await engine.start();
  process.stdout.write(`${JSON.stringify({ endpoint, engineId })}\n`);
} catch (error) {
  log(textOf(error));
  process.exit(1);
}
