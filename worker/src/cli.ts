/**
 * @file The worker's command: `join <invite>` and a wallet's commands for people, `run --connect` for an engine's own workers.
 * Composition only.
 */
import { fstatSync } from 'node:fs';
import type { BackendName, ByeReason, Invite, WireError } from '@ravenlab/protocol';
import { RavenError, WORKER_LIMITS, inviteEndpoint, toWireError } from '@ravenlab/protocol';
import type { Command, PayChoice, WalletCommand } from './arguments.js';
import { USAGE, readArguments } from './arguments.js';
import type { Identity } from './home.js';
import {
  knownSpeed,
  persistentIdentity,
  rememberSpeed,
  temporaryIdentity,
  workerHome,
} from './home.js';
import { BACKEND_TABLE, prepareEnvironment } from './compute/backendTable.js';
import { quickRunsOf } from './compute/quickRuns.js';
import { chooseBackend } from './doctor/choose.js';
import { runDoctor } from './doctor/doctor.js';
import { bitKind, deviceModel } from './machineInfo.js';
import type { LinkOptions } from './net/engineLink.js';
import type { PayOptions } from './net/paidWork.js';
import type { RuntimeEvents, RuntimeOptions } from './net/workerRuntime.js';
import { WorkerRuntime } from './net/workerRuntime.js';
import { Display, silentDisplay } from './terminal/display.js';

type Asked = Extract<Command, { kind: 'join' | 'run' }>;
/** With its backend decided. */
type Working = Asked & { readonly backend: BackendName };

/** How the process ends; other codes are crashes. */
const EXIT = { fine: 0, failed: 1, usage: 2 } as const;

async function main(): Promise<number> {
  let command: Command;
  try {
    command = readArguments(process.argv.slice(2), process.env);
  } catch (error) {
    console.error(`ravenlab worker: ${toWireError(error).message}\n\n${USAGE}`);
    return EXIT.usage;
  }
  if (command.kind === 'help') {
    console.log(USAGE);
    return EXIT.fine;
  }
  try {
    if (command.kind === 'doctor') {
      const say = (line: string): void => console.log(line);
      await runDoctor(command.threads, { say, note: noteOnTerminal });
      return EXIT.fine;
    }
    if (command.kind !== 'join' && command.kind !== 'run') return await askWallet(command);
    return await work(command);
  } catch (error) {
    if (!(error instanceof RavenError)) throw error;
    console.error(`ravenlab worker: ${error.message}`);
    return EXIT.failed;
  }
}

/** On a terminal a line that the next one replaces; nothing in a pipe. */
function noteOnTerminal(text: string): void {
  if (process.stderr.isTTY) process.stderr.write(`\r\u001b[K${text}`);
}

async function decided(command: Asked): Promise<Working> {
  const { backend, threads } = command;
  const chosen = backend === 'auto' ? await chooseBackend(threads) : backend;
  prepareEnvironment(chosen);
  const addressable = BACKEND_TABLE[chosen].addressableBytes ?? Infinity;
  return { ...command, backend: chosen, memoryBytes: Math.min(command.memoryBytes, addressable) };
}

async function askWallet(command: WalletCommand): Promise<number> {
  const { walletCommand } = await import('./wallet/walletCommands.js');
  const print = (line: string): void => console.log(line);
  return (await walletCommand(command, workerHome(), print)) ? EXIT.fine : EXIT.failed;
}

async function work(asked: Asked): Promise<number> {
  const isLocal = asked.kind === 'run';
  const identity = isLocal ? temporaryIdentity() : persistentIdentity(workerHome());
  try {
    const [command, pay] = await Promise.all([
      decided(asked),
      asked.kind === 'join' ? payOptions(asked, identity) : null,
    ]);
    const speedKey = `${deviceModel()} · ${command.backend} · ${command.threads}`;
    const options = runtimeOptions(command, identity, speedKey, pay);
    const display = isLocal ? silentDisplay() : new Display(options, process.stdout);
    const error = await untilEnd(options, display, isLocal, speedKey);
    display.close();
    if (error === null) return EXIT.fine;
    console.error(`ravenlab worker: ${error.message}`);
    return EXIT.failed;
  } finally {
    identity.release();
  }
}

/** Opens the wallet, or makes it and tells where it is. */
async function payOptions(
  { pay, invite }: { readonly pay: PayChoice | null; readonly invite: Invite },
  { slot, publicKey }: Identity,
): Promise<PayOptions | null> {
  if (pay === null) return null;
  const { openWallet, walletPaths } = await import('./wallet/wallet.js');
  const { password, policy } = pay;
  const wallet = await openWallet({
    paths: walletPaths(workerHome(), slot),
    password,
    warn: (text) => console.error(`ravenlab worker: ${text}`),
  });
  const { account, paths } = wallet;
  if (wallet.isNew) {
    console.log(`A wallet was made for this worker: ${account.address}`);
    console.log(
      `  Its key is in ${paths.keystore}, encrypted; keep a copy of that file and its password.`,
    );
    if (!password.isAsked && password.file === null) {
      console.log(
        `  Its password was made up and is in ${paths.password}: whoever reads both files has the money.`,
      );
    }
  }
  return {
    account,
    lanes: paths.lanes,
    serverKey: invite.serverKey,
    clientKey: publicKey,
    policy,
  };
}

function runtimeOptions(
  command: Working,
  identity: Identity,
  speedKey: string,
  pay: PayOptions | null,
): RuntimeOptions {
  const { publicKey, secretKey, workerId, incarnation } = identity;
  const { backend, threads, memoryBytes, name } = command;
  const isLocal = command.kind === 'run';
  const link: LinkOptions = isLocal
    ? { endpoint: command.endpoint, curve: null, proxy: null }
    : {
        proxy: command.proxy,
        endpoint: inviteEndpoint(command.invite),
        curve: { publicKey, secretKey, serverKey: command.invite.serverKey },
      };
  const token = isLocal ? command.token : command.invite.token;
  return {
    link,
    compute: {
      backend,
      threads,
      gflops: knownSpeed(workerHome(), speedKey),
      instructions: bitKind(backend),
      digests: pay !== null,
      // Programs of strangers have no business beside our keys; an engine's own worker has none and need not wait for a pipe.
      isolation: isLocal ? 'thread' : 'process',
      memoryBytes,
    },
    introduction: { workerId, token, incarnation, name },
    quick: isLocal ? quickRunsOf(backend) : null,
    pay,
  };
}

/** Works until the engine, the owner or an error ends it. @returns the error, null when all is well. */
function untilEnd(
  options: RuntimeOptions,
  display: RuntimeEvents & Pick<Display, 'attach' | 'draining'>,
  isLocal: boolean,
  speedKey: string,
): Promise<RavenError | null> {
  return new Promise((resolve) => {
    const finish = (error: RavenError | null): void => {
      void runtime.close().then((isFree) => {
        resolve(error);
        if (!isFree) setImmediate(endBySignal);
      });
    };
    const events: RuntimeEvents = {
      ready: (ready) => {
        if (options.compute.gflops === null) rememberSpeed(workerHome(), speedKey, ready.gflops);
        display.ready(ready);
      },
      welcome: (message) => display.welcome(message),
      disconnected: () => display.disconnected(),
      unitsDone: (done) => display.unitsDone(done),
      earned: (units, amount) => display.earned(units, amount),
      paid: (view) => display.paid(view),
      problem: (error: WireError) => display.problem(error),
      ended: (reason: ByeReason | 'stopped', error) => {
        display.ended(reason, error);
        finish(error);
      },
    };
    const runtime = new WorkerRuntime(options, events);
    display.attach(runtime);
    leaveOnSignals(runtime, () => display.draining());
    if (isLocal) leaveWithParent(runtime);
    runtime.start().catch((error: unknown) => {
      if (error instanceof RavenError) finish(error);
      else finish(new RavenError('internal', toWireError(error).message, { cause: error }));
    });
  });
}

/**
 * Ends the process at once. Not by exit(): that stops the compute thread, and ONNX Runtime's binding aborts when its thread
 * is stopped in a run.
 */
function endBySignal(): void {
  process.removeAllListeners('SIGINT');
  process.kill(process.pid, 'SIGINT');
}

/** The first signal finishes what is in work, the second one does not wait. */
function leaveOnSignals(runtime: WorkerRuntime, draining: () => void): void {
  let isDraining = false;
  const onSignal = (): void => {
    if (isDraining) {
      runtime.leave();
      return;
    }
    isDraining = true;
    draining();
    runtime.drain();
    setTimeout(() => runtime.leave(), WORKER_LIMITS.drainMs).unref();
  };
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, onSignal);
}

/** An engine that ends, however it ends, closes the pipe to its workers' stdin. */
function leaveWithParent(runtime: WorkerRuntime): void {
  const stdin = fstatSync(0);
  if (!stdin.isFIFO() && !stdin.isSocket()) return;
  process.stdin.on('end', () => runtime.leave());
  process.stdin.on('error', () => runtime.leave());
  process.stdin.resume();
  // Watching alone must not keep the process alive.
  process.stdin.unref();
}

process.exitCode = await main();
// The process ends by itself once the last message has left.
setTimeout(endBySignal, WORKER_LIMITS.exitMs).unref();
