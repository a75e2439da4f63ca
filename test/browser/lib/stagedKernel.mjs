/**
 * @file A kernel whose cluster is a file: the real kernel and the real panel protocol, with states that a test writes and commands
 * that it reads. For what no quick run produces: hundreds of rows, a chain in trouble, every state at once. Starts no engine.
 *
 * RAVENLAB_STAGE names a folder: `state.json` is what the panel shows, `results.json` what each command answers, and each command
 * is a line of `commands.jsonl`.
 */
import { appendFileSync, existsSync, readFileSync, watch } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { EMPTY_PANEL_STATE, PANEL_TARGET, RavenError, readPanelState } from '@ravenlab/protocol';
import { readConnectionFile } from '../../../kernel/dist/jupyter/connection.js';
import { startKernel } from '../../../kernel/dist/jupyter/kernel.js';
import { PanelHub, SYSTEM_PANEL_CLOCK } from '../../../kernel/dist/jupyter/panelComm.js';
import { NO_ENGINE } from '../../../kernel/dist/session/engineGateway.js';
import { TypeHost } from '../../../kernel/dist/session/types/typeHost.js';

const DIST = fileURLToPath(new URL('../../../kernel/dist/', import.meta.url));
const stage = process.env['RAVENLAB_STAGE'] ?? '';
const warn = (context, detail) => process.stderr.write(`${context}: ${String(detail)}\n`);

function read(name) {
  const path = join(stage, name);
  return existsSync(path) ? JSON.parse(readFileSync(path, 'utf8')) : null;
}

let state = EMPTY_PANEL_STATE;
const listeners = new Set();

function look() {
  const written = read('state.json');
  if (written !== null) state = readPanelState(written, 'state.json');
  for (const listener of listeners) listener();
}

/** @type {import('@ravenlab/protocol').PanelSource} */
const source = {
  state: () => state,
  onChange: (listener) => {
    listeners.add(listener);
    return () => listeners.delete(listener);
  },
  command: async (op, args) => {
    appendFileSync(join(stage, 'commands.jsonl'), `${JSON.stringify({ op, args })}\n`);
    const result = read('results.json')?.[op];
    if (result === undefined) throw new RavenError('cluster', `${op} is not on this stage`);
    return result;
  },
};

const types = new TypeHost({
  notebookDir: process.cwd(),
  apiTypesPath: join(DIST, 'api', 'index.d.ts'),
  heapMib: 512,
  onWarning: warn,
});
const kernel = await startKernel({
  connection: readConnectionFile(process.argv[2]),
  version: 'staged',
  notebookDir: process.cwd(),
  apiPath: join(DIST, 'api', 'index.js'),
  internalDirs: [DIST],
  historyPath: null,
  isInteractive: true,
  heapMib: 512,
  typePolicy: 'warn',
  types,
  gateway: NO_ENGINE,
  onShutdown: () => process.exit(0),
  onWarning: warn,
});
kernel.comms.registerTarget(
  PANEL_TARGET,
  new PanelHub({ source, clock: SYSTEM_PANEL_CLOCK, onError: warn }),
);
look();
// Written whole and renamed, so an event means a state that can be read.
watch(stage, (_event, name) => {
  if (name === 'state.json') look();
});
process.on('SIGTERM', () => process.exit(0));
