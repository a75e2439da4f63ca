/** @file Child processes: output to a log, a tail of it in the error, and no child left behind. */
import { spawn } from 'node:child_process';
import { createWriteStream, mkdirSync } from 'node:fs';
import { basename, join } from 'node:path';
import { Failure } from './failure.mjs';
import { LOGS, ROOT } from './paths.mjs';

/** How much of a failed command's output its error quotes; the whole is in the log file. */
const TAIL_LINES = 40;
/** The last line of the drills is all their figures. */
const TAIL_BYTES = 65_536;
const KILL_AFTER_MS = 5_000;

/** @type {Set<import('node:child_process').ChildProcess>} */
const running = new Set();
/** Children that lead their own process group, so that a signal can reach what they started. */
const groupLeaders = new WeakSet();

/** Ends a child and everything it started; a child that ignores SIGTERM is killed. */
export function stopTree(child, { killAfterMs = KILL_AFTER_MS } = {}) {
  if (child.pid === undefined || child.exitCode !== null || child.signalCode !== null) return;
  const signal = (name) => {
    try {
      if (groupLeaders.has(child)) process.kill(-child.pid, name);
      else child.kill(name);
    } catch {
      // It ended between the check and the signal.
    }
  };
  signal('SIGTERM');
  const timer = setTimeout(() => signal('SIGKILL'), killAfterMs);
  timer.unref();
  child.once('exit', () => clearTimeout(timer));
}

const EXIT_CODES = { SIGINT: 130, SIGTERM: 143, SIGHUP: 129 };

/** Ends every child, then this process; children that ignore it are killed a little earlier. */
function onSignal(name) {
  for (const child of running) stopTree(child, { killAfterMs: 2_000 });
  setTimeout(() => process.exit(EXIT_CODES[name]), 2_500);
}

/** Signals are ours only while a child runs: what comes after set-up handles its own. */
function track(child) {
  if (running.size === 0) for (const name of Object.keys(EXIT_CODES)) process.on(name, onSignal);
  running.add(child);
}

function untrack(child) {
  running.delete(child);
  if (running.size === 0) for (const name of Object.keys(EXIT_CODES)) process.off(name, onSignal);
}

/**
 * Environment for a child: npm's own variables do not leak into kernels, pip and tests.
 * @param {NodeJS.ProcessEnv} [extra]
 * @returns {NodeJS.ProcessEnv}
 */
export function cleanEnv(extra = {}) {
  const env = { ...process.env, ...extra };
  for (const key of Object.keys(env)) {
    if (/^npm_(config|package|lifecycle|execpath|node|command)/i.test(key)) delete env[key];
  }
  delete env.INIT_CWD;
  return env;
}

/**
 * Runs a command to its end.
 * @param {string} command
 * @param {readonly string[]} args
 * @param {{ cwd?: string, env?: NodeJS.ProcessEnv, log?: string, echo?: boolean, timeoutMs?: number }} [options]
 *   `log` names the file under .cache/logs; `echo` also shows the output as it comes.
 * @returns {Promise<{ code: number, output: string, logFile: string, timedOut: boolean }>}
 *   `output` is the tail of stdout and stderr together.
 */
export function run(command, args, options = {}) {
  const {
    cwd = ROOT,
    env = cleanEnv(),
    log = basename(command),
    echo = false,
    timeoutMs,
  } = options;
  mkdirSync(LOGS, { recursive: true });
  const logFile = join(LOGS, `${log}.log`);
  const file = createWriteStream(logFile);
  file.write(`$ ${[command, ...args].join(' ')}\n`);
  return new Promise((resolve, reject) => {
    const detached = process.platform !== 'win32';
    const child = spawn(command, args, { cwd, env, stdio: ['ignore', 'pipe', 'pipe'], detached });
    if (detached) groupLeaders.add(child);
    track(child);
    let output = '';
    let timedOut = false;
    const timer =
      timeoutMs === undefined
        ? undefined
        : setTimeout(() => {
            timedOut = true;
            stopTree(child);
          }, timeoutMs);
    const take = (chunk, stream) => {
      file.write(chunk);
      if (echo) stream.write(chunk);
      output = (output + chunk.toString('utf8')).slice(-TAIL_BYTES);
    };
    child.stdout.on('data', (chunk) => take(chunk, process.stdout));
    child.stderr.on('data', (chunk) => take(chunk, process.stderr));
    const finish = () => {
      clearTimeout(timer);
      untrack(child);
      file.end();
    };
    child.once('error', (error) => {
      finish();
      reject(error);
    });
    child.once('close', (code) => {
      finish();
      resolve({ code: code ?? 1, output, logFile, timedOut });
    });
  });
}

/**
 * Runs a command that must succeed.
 * @param {string} command
 * @param {readonly string[]} args
 * @param {{ failure: string, todo?: string } & Parameters<typeof run>[2]} settings `failure` is the sentence shown
 */
export async function mustRun(command, args, settings) {
  const { failure, todo, ...options } = settings;
  let result;
  try {
    result = await run(command, args, options);
  } catch (cause) {
    throw new Failure(`${failure}: ${command} could not be started (${cause.code ?? cause})`, {
      todo,
      cause,
    });
  }
  if (result.code === 0) return result;
  const tail = result.output.trimEnd().split('\n').slice(-TAIL_LINES).join('\n');
  const how = result.timedOut ? 'did not end in time' : `ended with code ${result.code}`;
  throw new Failure(`${failure}: ${basename(command)} ${how}`, {
    detail: `${tail}\n(whole output: ${result.logFile})`,
    todo,
  });
}

/** stdout of a short command, or null when it cannot run or fails. */
export async function capture(command, args, env = cleanEnv()) {
  try {
    const { code, output } = await run(command, args, { env, log: 'probe' });
    return code === 0 ? output : null;
  } catch {
    return null;
  }
}

/**
 * [command, leading args] that start npm itself: the one that started us, when one did.
 * @returns {[string, string[]]}
 */
export function npmCommand() {
  const cli = process.env.npm_execpath;
  if (cli !== undefined && basename(cli) === 'npm-cli.js') return [process.execPath, [cli]];
  return [process.platform === 'win32' ? 'npm.cmd' : 'npm', []];
}
