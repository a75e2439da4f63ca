/**
 * @file Runs a program for as long as the parent of this process lives; a pipe tells it, so that SIGKILL counts too.
 *
 * `node guard.mjs PROGRAM ARGS…`: output is inherited, stdin is the life line and carries nothing. Plain JavaScript,
 * because it is started by path from the sources and from the build alike.
 */
import { spawn } from 'node:child_process';

const KILL_AFTER_MS = 3_000;

const [program, ...args] = process.argv.slice(2);
const child = spawn(program, args, { stdio: ['ignore', 'inherit', 'inherit'] });

function end() {
  child.kill('SIGTERM');
  setTimeout(() => child.kill('SIGKILL'), KILL_AFTER_MS).unref();
}

child.once('error', (error) => {
  process.stderr.write(`${program} could not be started: ${error.message}\n`);
  process.exit(127);
});
child.once('exit', (code) => process.exit(code ?? 1));
process.stdin.once('end', end).once('error', end).resume();
for (const signal of ['SIGTERM', 'SIGINT', 'SIGHUP']) process.on(signal, end);
