/** @file `npm start`: sets the checkout up, then serves JupyterLab with our kernel on this machine. */
import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { mkdirSync } from 'node:fs';
import { createServer } from 'node:net';
import { parseArgs } from 'node:util';
import { cleanEnv, stopTree } from './lib/exec.mjs';
import { Failure, runMain } from './lib/failure.mjs';
import { fromRoot, venvProgram } from './lib/paths.mjs';
import { formatSeconds } from './lib/progress.mjs';
import { setUp } from './lib/setup.mjs';

const HOST = '127.0.0.1';
const FIRST_PORT = 8888;
const PORTS_TRIED = 50;
const READY_LIMIT_MS = 60_000;
const POLL_MS = 100;
/** The extension app has its own level, and greets at INFO whatever the server's is. */
const QUIET = ['--log-level=ERROR', '--LabApp.log_level=ERROR'];

const USAGE = `npm start -- [options] [-- options of jupyter lab]
  --no-browser   serve only; the address is printed
  --port N       this port (otherwise the first free one from ${FIRST_PORT})
  --verbose      show the server's own log`;

/** @satisfies {import('node:util').ParseArgsConfig['options']} */
const OPTIONS = {
  'no-browser': { type: 'boolean', default: false },
  port: { type: 'string' },
  verbose: { type: 'boolean', default: false },
  help: { type: 'boolean', default: false },
};

function readArguments() {
  let read;
  try {
    read = parseArgs({ options: OPTIONS, allowPositionals: true });
  } catch (error) {
    throw new Failure(error.message, { todo: `use\n${USAGE}` });
  }
  const { port } = read.values;
  if (
    port !== undefined &&
    !(/^\d{1,5}$/.test(port) && Number(port) >= 1 && Number(port) <= 65_535)
  ) {
    throw new Failure(`--port must be a number from 1 to 65535, not ${port}`);
  }
  return read;
}

/** Whether nothing listens on the port of the loopback address. */
const isFree = (port) =>
  new Promise((resolve) => {
    const probe = createServer();
    probe.once('error', () => resolve(false));
    probe.listen(port, HOST, () => probe.close(() => resolve(true)));
  });

/** @param {string | undefined} asked the value of --port */
async function choosePort(asked) {
  if (asked !== undefined) {
    const port = Number(asked);
    if (await isFree(port)) return port;
    throw new Failure(`port ${port} of ${HOST} is in use`, {
      todo: 'end the program that uses it, or leave --port out to take a free one',
    });
  }
  for (let port = FIRST_PORT; port < FIRST_PORT + PORTS_TRIED; port += 1) {
    if (await isFree(port)) return port;
  }
  throw new Failure(`no free port from ${FIRST_PORT} to ${FIRST_PORT + PORTS_TRIED - 1}`, {
    todo: 'name one with `npm start -- --port N`',
  });
}

/** Polls until the server answers, or throws when it ends first. */
async function waitUntilServing(address, token, child) {
  const deadline = performance.now() + READY_LIMIT_MS;
  const headers = { authorization: `token ${token}` };
  while (performance.now() < deadline) {
    if (child.exitCode !== null || child.signalCode !== null) {
      throw new Failure('JupyterLab ended before it served a page', {
        todo: 'run `npm start -- --verbose` to see its log',
      });
    }
    const isUp = await fetch(`${address}/api/status`, { headers }).then(
      (response) => response.ok,
      () => false,
    );
    if (isUp) return;
    await new Promise((resolve) => setTimeout(resolve, POLL_MS));
  }
  throw new Failure(`JupyterLab did not answer within ${READY_LIMIT_MS / 1000} s`, {
    todo: 'run `npm start -- --verbose` to see its log',
  });
}

function startServer({ port, token, values, positionals }) {
  const args = [
    `--config=${fromRoot('jupyter_config.json')}`,
    `--ServerApp.root_dir=${fromRoot('notebooks')}`,
    `--ServerApp.port=${port}`,
    '--ServerApp.port_retries=0',
    ...(values['no-browser'] ? ['--no-browser'] : []),
    // In a container everybody is root; the server listens on loopback only, behind a token.
    ...(process.getuid?.() === 0 ? ['--allow-root'] : []),
    ...(values.verbose ? [] : QUIET),
    ...positionals,
  ];
  // The token travels by environment: an argument would be readable by every user of the machine.
  const env = cleanEnv({ JUPYTER_TOKEN: token, JUPYTER_PREFER_ENV_PATH: '1' });
  mkdirSync(fromRoot('notebooks'), { recursive: true });
  return spawn(venvProgram('jupyter-lab'), args, {
    cwd: fromRoot('notebooks'),
    env,
    stdio: ['ignore', 'inherit', 'inherit'],
  });
}

/** @returns {Promise<number>} the server's exit code; 0 when a person stopped it */
async function serve(values, positionals, startMs) {
  const port = await choosePort(values.port);
  const token = randomBytes(24).toString('hex');
  const child = startServer({ port, token, values, positionals });
  let isStopping = false;
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) {
    process.on(signal, () => {
      isStopping = true;
      stopTree(child, { killAfterMs: 10_000 });
    });
  }
  const ended = new Promise((resolve, reject) => {
    child.once('error', reject);
    child.once('exit', (code) => resolve(isStopping ? 0 : (code ?? 1)));
  });
  try {
    await Promise.race([waitUntilServing(`http://${HOST}:${port}`, token, child), ended]);
  } catch (error) {
    if (isStopping) return ended;
    stopTree(child);
    throw error;
  }
  const seconds = formatSeconds(performance.now() - startMs);
  if (child.exitCode === null) {
    process.stdout.write(
      `\nRavenLab is ready (${seconds}): http://${HOST}:${port}/lab?token=${token}\n` +
        'Pick the kernel "TypeScript (RavenLab)", or open 01-quickstart.ipynb. Ctrl-C stops it.\n',
    );
  }
  return ended;
}

await runMain(async () => {
  const startMs = performance.now();
  const { values, positionals } = readArguments();
  if (values.help) {
    process.stdout.write(`${USAGE}\n`);
    return 0;
  }
  process.stdout.write('RavenLab: making this checkout ready\n');
  await setUp();
  return serve(values, positionals, startMs);
});
