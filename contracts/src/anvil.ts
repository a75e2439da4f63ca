/**
 * @file The simulated chain: an anvil of our own on the loopback, which ends with this process. Not a wallet, and
 * nothing on it is worth anything: its accounts' keys are known to everybody.
 */
import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { createRequire } from 'node:module';
import { fileURLToPath } from 'node:url';
import { CHAIN_LIMITS, ChainError } from '@ravenlab/protocol';

/** What anvil and hardhat call their chain; well-known keys are accepted on this one only. */
export const SIMULATED_CHAIN_ID = 31_337;

export interface SimulatedChainOptions {
  /** 31337 unless a test needs two chains. */
  readonly chainId?: number;
  /** A free one unless given. */
  readonly port?: number;
  /** Where the chain is kept between two starts; without it, it is forgotten. */
  readonly stateFile?: string;
  /** Begins as a branch of this node's chain. */
  readonly forkUrl?: string;
}

export interface SimulatedChain {
  /** `http://127.0.0.1:port`. */
  readonly url: string;
  readonly chainId: number;
  /** Of the guard, whose child is anvil. */
  readonly pid: number;
  /** Resolves with the reason when the chain is gone, asked for or not. */
  readonly ended: Promise<string>;
  /** Ends it, and resolves when it is gone and its state is written. */
  stop(): Promise<void>;
}

const HOST = '127.0.0.1';
const GUARD = fileURLToPath(new URL('../guard.mjs', import.meta.url));
const LISTENING = /Listening on 127\.0\.0\.1:(\d+)\n/;
const CPUS: Readonly<Record<string, string>> = { x64: 'amd64', arm64: 'arm64' };

/** Path of the program inside anvil's package for this platform. */
function findAnvil(): string {
  const require = createRequire(import.meta.url);
  const platform = `${process.platform}-${CPUS[process.arch] ?? process.arch}`;
  const program = process.platform === 'win32' ? 'anvil.exe' : 'anvil';
  try {
    // The platform's package is a dependency of anvil's, not of ours.
    const anvil = createRequire(require.resolve('@foundry-rs/anvil/package.json'));
    return anvil.resolve(`@foundry-rs/anvil-${platform}/bin/${program}`);
  } catch (cause) {
    throw new ChainError(
      `the simulated chain needs @foundry-rs/anvil-${platform}, which is not installed: run npm install, or name ` +
        'an RPC URL of a real network where anvil has no package for this platform',
      { cause },
    );
  }
}

function argumentsOf(options: SimulatedChainOptions): readonly string[] {
  return [
    ...['--host', HOST, '--port', String(options.port ?? 0)],
    ...['--chain-id', String(options.chainId ?? SIMULATED_CHAIN_ID)],
    // As on mainnet: 2^24 gas at most for one transaction (EIP-7825), which anvil enforces only when told to.
    ...['--hardfork', 'osaka', '--enable-tx-gas-limit'],
    ...(options.forkUrl === undefined ? [] : ['--fork-url', options.forkUrl]),
    ...(options.stateFile === undefined ? [] : ['--state', options.stateFile]),
  ];
}

/**
 * Starts a simulated chain and waits until it answers.
 * @throws ChainError when anvil is not installed, or does not listen within CHAIN_LIMITS.anvilStartMs.
 */
export async function startSimulatedChain(
  options: SimulatedChainOptions = {},
): Promise<SimulatedChain> {
  const chainId = options.chainId ?? SIMULATED_CHAIN_ID;
  const child = spawn(process.execPath, [GUARD, findAnvil(), ...argumentsOf(options)], {
    stdio: ['pipe', 'pipe', 'pipe'],
  });
  // The life line may break before we cut it; `ended` tells.
  child.stdin.on('error', () => undefined);
  const ended = new Promise<string>((resolve) => {
    child.once('error', (error) => resolve(error.message));
    child.once('close', (code, signal) => {
      resolve(signal === null ? `exit code ${String(code)}` : `signal ${signal}`);
    });
  });
  const stop = async (): Promise<void> => {
    const timer = setTimeout(() => child.kill('SIGKILL'), CHAIN_LIMITS.anvilExitMs);
    child.stdin.end();
    await ended;
    clearTimeout(timer);
  };
  const url = await whenListening(child, ended);
  try {
    // It would print a line per request.
    await callRpc(url, 'anvil_setLoggingEnabled', [false]);
  } catch (cause) {
    await stop();
    throw new ChainError(`the simulated chain at ${url} does not answer`, { cause });
  }
  return { url, chainId, pid: child.pid ?? -1, ended, stop };
}

/** Reads output until the line that names the port; what comes after is drained, for a full pipe would stop anvil. */
function whenListening(child: ChildProcess, ended: Promise<string>): Promise<string> {
  return new Promise((resolve, reject) => {
    let words = '';
    let isReady = false;
    const refuse = (why: string): void => {
      clearTimeout(timer);
      if (isReady) return;
      const said = words.trim() === '' ? '' : `\n${words.trim()}`;
      reject(new ChainError(`the simulated chain could not be started: ${why}${said}`));
    };
    const timer = setTimeout(() => {
      // Its guard ends it; a guard that is killed cannot.
      child.stdin?.end();
      refuse(`it did not listen within ${String(CHAIN_LIMITS.anvilStartMs)} ms`);
    }, CHAIN_LIMITS.anvilStartMs);
    const take = (chunk: Buffer): void => {
      if (isReady) return;
      words = (words + chunk.toString('utf8')).slice(-CHAIN_LIMITS.anvilLastWordsChars);
      const port = LISTENING.exec(words)?.[1];
      if (port === undefined) return;
      isReady = true;
      clearTimeout(timer);
      resolve(`http://${HOST}:${port}`);
    };
    child.stdout?.on('data', take);
    child.stderr?.on('data', take);
    void ended.then(refuse);
  });
}

/** One JSON-RPC request, for what ethers has no name for. */
async function callRpc(url: string, method: string, params: readonly unknown[]): Promise<unknown> {
  const response = await fetch(url, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ jsonrpc: '2.0', id: 1, method, params }),
    signal: AbortSignal.timeout(CHAIN_LIMITS.rpcMs),
  });
  const answer = (await response.json()) as { readonly result?: unknown; readonly error?: unknown };
  if (answer.error !== undefined) throw new Error(`${method}: ${JSON.stringify(answer.error)}`);
  return answer.result;
}
