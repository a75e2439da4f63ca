/**
 * @file Entry of the kernel process: `main.js <connection file>`. Reads the environment, starts the kernel,
 * ends with the front end that started it.
 */

import { readFileSync } from 'node:fs';
import { homedir, totalmem } from 'node:os';
import { basename, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { KERNEL_LIMITS, PANEL_TARGET } from '@ravenlab/protocol';
import { EngineClient } from './engine/client.js';
import { readConnectionFile } from './jupyter/connection.js';
import type { TypePolicy } from './jupyter/executor.js';
import { startKernel } from './jupyter/kernel.js';
import type { Kernel } from './jupyter/kernel.js';
import { NO_CLUSTER, PanelHub, SYSTEM_PANEL_CLOCK } from './jupyter/panelComm.js';
import { NO_ENGINE } from './session/engineGateway.js';
import type { EngineGateway } from './session/engineGateway.js';
import { TypeHost } from './session/types/typeHost.js';

const MIB = 2 ** 20;
const DIST_DIR = fileURLToPath(new URL('.', import.meta.url));
const TYPE_POLICIES: readonly TypePolicy[] = ['error', 'warn', 'off'];

await main();

async function main(): Promise<void> {
  const connectionPath = process.argv[2];
  if (connectionPath === undefined) {
    fail('usage: main.js <connection file>; Jupyter starts kernels, see `npm start`');
    return;
  }
  try {
    await run(connectionPath);
  } catch (error) {
    fail(error instanceof Error ? `${error.message}${causeOf(error)}` : String(error));
  }
}

async function run(connectionPath: string): Promise<void> {
  const connection = readConnectionFile(connectionPath);
  let kernel: Kernel | null = null;
  const engine =
    process.env['RAVENLAB_ENGINE'] === 'off'
      ? null
      : new EngineClient({
          keys: engineKeys(connectionPath),
          onNotice: ({ text }) => kernel?.notify(text),
        });
  const gateway: EngineGateway = engine ?? NO_ENGINE;
  const apiPath = join(DIST_DIR, 'api', 'index.js');
  const types = new TypeHost({
    notebookDir: process.cwd(),
    apiTypesPath: join(DIST_DIR, 'api', 'index.d.ts'),
    heapMib: heapMib(),
    onWarning: warn,
  });
  let isEnding = false;
  const end = async ({ restart }: { restart: boolean }): Promise<void> => {
    if (isEnding) return;
    isEnding = true;
    // Live timers of cells, or an engine that does not answer, must not keep the process.
    setTimeout(() => process.exit(0), KERNEL_LIMITS.shutdownMs).unref();
    await Promise.allSettled([gateway.close({ restart }), kernel?.close(), types.dispose()]);
    process.exit(0);
  };
  kernel = await startKernel({
    connection,
    version: packageVersion(),
    notebookDir: process.cwd(),
    apiPath,
    internalDirs: [
      DIST_DIR,
      fileURLToPath(new URL('.', import.meta.resolve('@ravenlab/protocol'))),
    ],
    historyPath: historyPath(),
    isInteractive: process.env['RAVENLAB_INTERACTIVE'] !== '0',
    heapMib: heapMib(),
    typePolicy: typePolicy(),
    types,
    gateway,
    onShutdown: (options) => void end(options),
    onWarning: warn,
  });
  const panel = new PanelHub({
    source: engine ?? NO_CLUSTER,
    clock: SYSTEM_PANEL_CLOCK,
    onError: warn,
  });
  kernel.comms.registerTarget(PANEL_TARGET, panel);
  engine?.look();
  process.on('SIGINT', () => void kernel.interrupt());
  process.on('SIGTERM', () => void end({ restart: false }));
  process.on('SIGHUP', () => void end({ restart: false }));
  // A server that comes back may start this notebook again: the engine waits for it for a while.
  watchParent(() => void end({ restart: true }));
}

/** A kernel whose server has died serves nobody. */
function watchParent(onGone: () => void): void {
  if (process.env['JPY_PARENT_PID'] === undefined) return;
  const parent = process.ppid;
  setInterval(() => {
    if (process.ppid !== parent) onGone();
  }, KERNEL_LIMITS.parentPollMs).unref();
}

/**
 * What a restarted kernel of this notebook is called too: its connection file, which a restart keeps, and the notebook itself,
 * which a new server knows.
 */
function engineKeys(connectionPath: string): string[] {
  const notebook = process.env['JPY_SESSION_NAME'];
  const keys = [`connection ${basename(connectionPath)}`];
  return notebook === undefined || notebook === '' ? keys : [...keys, `notebook ${notebook}`];
}

function historyPath(): string | null {
  if (process.env['RAVENLAB_HISTORY'] === 'off') return null;
  const home = process.env['XDG_DATA_HOME'] ?? join(homedir(), '.local', 'share');
  const dataDir = process.env['JUPYTER_DATA_DIR'] ?? join(home, 'jupyter');
  return join(dataDir, 'ravenlab', 'history.jsonl');
}

function heapMib(): number {
  const wanted = Number(process.env['RAVENLAB_HEAP_MIB']);
  return Number.isInteger(wanted) && wanted > 0 ? wanted : Math.floor(totalmem() / MIB / 2);
}

function typePolicy(): TypePolicy {
  const wanted = process.env['RAVENLAB_TYPES'];
  return TYPE_POLICIES.find((policy) => policy === wanted) ?? 'warn';
}

function packageVersion(): string {
  const text = readFileSync(new URL('../package.json', import.meta.url), 'utf8');
  return String((JSON.parse(text) as { version: unknown }).version);
}

function warn(context: string, detail: unknown): void {
  const text = detail instanceof Error ? (detail.stack ?? detail.message) : String(detail);
  process.stderr.write(`[ravenlab kernel] ${context}: ${text}\n`);
}

function causeOf(error: Error): string {
  return error.cause instanceof Error ? ` (${error.cause.message})` : '';
}

function fail(message: string): void {
  process.stderr.write(`[ravenlab kernel] ${message}\n`);
  process.exitCode = 1;
}
