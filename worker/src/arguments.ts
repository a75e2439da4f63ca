/** @file The worker's command line: what can be asked for, and clear words for what cannot. */
import { parseArgs } from 'node:util';
import type { Address, BackendName, Invite } from '@ravenlab/protocol';
import { BACKENDS, LIMITS, RavenError, decodeInvite } from '@ravenlab/protocol';
import type { ChainPolicy } from './wallet/checklist.js';
import type { PasswordChoice } from './wallet/wallet.js';
import { IDENTITIES } from './home.js';
import { defaultMemoryBytes, defaultThreads, parseSize } from './machineInfo.js';
import { readProxy } from './proxyOption.js';

/** Coins of a token for one ether where nobody says better; only to tell what is plainly not worth its gas. */
const ETHER_PRICE = 3_000;

export const USAGE = `Lend this machine to a RavenLab cluster.

  npm run worker -- join <invite> [options]
  npm run worker -- doctor             which backends work here, and how fast

The invite comes from the cluster panel (Invite) or from cluster.invite() in a notebook.

  --threads <n>      compute threads (default: all cores)
  --memory <size>    memory to use at most, like 4G (default: half of the machine's)
  --backend <name>   auto | ${BACKENDS.join(' | ')} (default: auto)
  --name <text>      name shown to the cluster (default: none)
  --proxy <server>   goes to the cluster through socks5://host:port, Tor's for example (docs/security.md)

Pay: the first join makes a wallet in the worker's home, and clusters that pay promise what is earned by vouchers.

  --rpc <url>             your own view of the chain (default: RAVENLAB_CHAIN_RPC): with it a worker sees whether a promise is
                          covered before it works for it
  --token <address>       a token that you want to be paid in; may be given several times
  --trust-unchecked       works for promises on chains that it has no RPC URL of
  --no-pay                works unpaid
  --password-file <file>  the wallet's password, in a file of mode 0600 (default: made, and kept beside the wallet)
  --ask-password          asks for it

  npm run worker -- wallet                     your address, where its key is, what it has
  npm run worker -- earnings                   by job: earned, promised, redeemed, at risk
  npm run worker -- redeem --rpc <url>         turns vouchers into money; the cluster need not exist any more
  npm run worker -- redeem --relay <file>      ... without ether: writes requests that anybody can submit for you
  npm run worker -- relay <file> --rpc <url>   submits such a request; you pay the gas, its payee gets the money

  --job <id>              that job alone, by the first characters of its id
  --wallet <n>            of the n-th worker that ran on this machine at once (default: 1)
  --ether-price <coins>   what one ether is worth in the job's token (default: ${String(ETHER_PRICE)}); a voucher that is worth less than
                          its gas is not redeemed
  --force                 redeems it anyway

Ctrl-C finishes the units in work and leaves; a second Ctrl-C leaves at once.`;

export interface CommonOptions {
  readonly threads: number;
  readonly memoryBytes: number;
  /** `auto`: the fastest that starts here (doctor/choose.ts). */
  readonly backend: BackendName | 'auto';
  readonly name: string;
}

export type Command =
  | { readonly kind: 'help' }
  /** Which backends work here. */
  | { readonly kind: 'doctor'; readonly threads: number }
  /** A person joins a cluster. */
  | ({
      readonly kind: 'join';
      readonly invite: Invite;
      readonly pay: PayChoice | null;
      /** SOCKS5 server, `host:port`. */
      readonly proxy: string | null;
    } & CommonOptions)
  /** An engine starts a worker of its own; the secret comes in the environment. */
  | ({ readonly kind: 'run'; readonly endpoint: string; readonly token: string } & CommonOptions)
  | WalletCommand;

/** How a worker that joins wants to be paid. */
export interface PayChoice {
  readonly password: PasswordChoice;
  readonly policy: ChainPolicy;
}

/** What is asked of a wallet, while a worker runs or not. */
export type WalletCommand = {
  /** Number of the identity whose wallet it is. */
  readonly slot: number;
  readonly rpcUrl: string | null;
  readonly password: PasswordChoice;
  /** First characters of a job's id; empty: all jobs. */
  readonly job: string;
  readonly isForced: boolean;
  /** Coins of a job's token for one ether. */
  readonly etherPrice: number;
} & (
  | { readonly kind: 'wallet' | 'earnings' }
  /** `relay`: file for the requests; null redeems by itself. */
  | { readonly kind: 'redeem'; readonly relay: string | null }
  | { readonly kind: 'relay'; readonly file: string }
);

/** An engine's own workers share the machine with the notebook, and start without trying devices out. */
const LOCAL_BACKEND: BackendName = 'onnx-cpu';

const TOKEN_VARIABLE = 'RAVENLAB_WORKER_TOKEN';
const RPC_VARIABLE = 'RAVENLAB_CHAIN_RPC';

/** @throws RavenError 'cluster' saying which argument is wrong and what is possible. */
export function readArguments(
  args: readonly string[],
  environment: Readonly<Record<string, string | undefined>>,
): Command {
  const { values, positionals } = parse(args);
  const [command, ...operands] = positionals;
  if (values.help === true || command === undefined || command === 'help') return { kind: 'help' };
  if (command === 'doctor') return { kind: 'doctor', threads: readThreads(values.threads) };
  const walletCommand = readWalletCommand(command, operands, values, environment);
  if (walletCommand !== null) return walletCommand;
  const common: CommonOptions = {
    threads: readThreads(values.threads),
    memoryBytes: readMemory(values.memory),
    backend: readBackend(values.backend, command === 'run' ? LOCAL_BACKEND : 'auto'),
    name: readName(values.name),
  };
  if (command === 'join') {
    const [invite, ...rest] = operands;
    if (invite === undefined || rest.length > 0) {
      throw wrong(`join takes one invite, got ${operands.length}`);
    }
    const pay = readPay(values, environment);
    return {
      kind: 'join',
      invite: decodeInvite(invite),
      pay,
      proxy: readProxy(values.proxy, pay?.policy.rpcUrl ?? null),
      ...common,
    };
  }
  if (command === 'run') {
    if (values.connect === undefined) throw wrong('run needs --connect <endpoint>');
    return {
      kind: 'run',
      endpoint: values.connect,
      token: environment[TOKEN_VARIABLE] ?? '',
      ...common,
    };
  }
  throw wrong(
    `unknown command "${command}"; expected join, doctor, wallet, earnings, redeem or relay`,
  );
}

function parse(args: readonly string[]) {
  try {
    return parseArgs({
      args: [...args],
      allowPositionals: true,
      options: {
        threads: { type: 'string' },
        memory: { type: 'string' },
        backend: { type: 'string' },
        name: { type: 'string' },
        proxy: { type: 'string' },
        connect: { type: 'string' },
        rpc: { type: 'string' },
        token: { type: 'string', multiple: true },
        'trust-unchecked': { type: 'boolean' },
        'no-pay': { type: 'boolean' },
        'password-file': { type: 'string' },
        'ask-password': { type: 'boolean' },
        wallet: { type: 'string' },
        job: { type: 'string' },
        relay: { type: 'string' },
        'ether-price': { type: 'string' },
        force: { type: 'boolean' },
        help: { type: 'boolean', short: 'h' },
      },
    });
  } catch (error) {
    throw wrong(error instanceof Error ? error.message : String(error));
  }
}

type Values = ReturnType<typeof parse>['values'];
type Environment = Readonly<Record<string, string | undefined>>;

function readPay(values: Values, environment: Environment): PayChoice | null {
  if (values['no-pay'] === true) return null;
  return {
    password: readPasswordChoice(values),
    policy: {
      rpcUrl: readRpc(values, environment),
      tokens: (values.token ?? []).map(readToken),
      trustsUnchecked: values['trust-unchecked'] === true,
    },
  };
}

/** Null when it is no command of a wallet. */
function readWalletCommand(
  command: string,
  operands: readonly string[],
  values: Values,
  environment: Environment,
): WalletCommand | null {
  const [file, ...rest] = operands;
  const common = {
    slot: readSlot(values.wallet),
    rpcUrl: readRpc(values, environment),
    password: readPasswordChoice(values),
    job: readJob(values.job),
    isForced: values.force === true,
    etherPrice: readEtherPrice(values['ether-price']),
  };
  switch (command) {
    case 'wallet':
    case 'earnings':
      if (file !== undefined) throw wrong(`${command} takes no operand, got "${file}"`);
      return { kind: command, ...common };
    case 'redeem':
      if (file !== undefined) throw wrong(`redeem takes no operand, got "${file}"`);
      return { kind: 'redeem', relay: values.relay ?? null, ...common };
    case 'relay':
      if (file === undefined || rest.length > 0) throw wrong('relay takes one file of requests');
      return { kind: 'relay', file, ...common };
    default:
      return null;
  }
}

function readPasswordChoice(values: Values): PasswordChoice {
  const file = values['password-file'] ?? null;
  const isAsked = values['ask-password'] === true;
  if (file !== null && isAsked) throw wrong('--password-file and --ask-password: choose one');
  return { file, isAsked };
}

function readRpc({ rpc }: Values, environment: Environment): string | null {
  const url = rpc ?? environment[RPC_VARIABLE] ?? '';
  return url === '' ? null : url;
}

function readToken(text: string): Address {
  if (/^0x[0-9a-fA-F]{40}$/.test(text)) return text.toLowerCase() as Address;
  throw wrong(`--token ${text}: expected the token's address, 0x and 40 hex digits`);
}

function readSlot(text = '1'): number {
  const slot = Number(text);
  if (Number.isInteger(slot) && slot >= 1 && slot <= IDENTITIES) return slot;
  throw wrong(`--wallet ${text}: expected 1 … ${String(IDENTITIES)}`);
}

function readJob(text = ''): string {
  if (/^(0x[0-9a-f]{0,64})?$/.test(text)) return text;
  throw wrong(`--job ${text}: expected the first characters of a job's id, like 0x12ab`);
}

function readEtherPrice(text: string | undefined): number {
  if (text === undefined) return ETHER_PRICE;
  const coins = Number(text);
  if (Number.isFinite(coins) && coins > 0 && coins <= 1e12) return coins;
  throw wrong(`--ether-price ${text}: expected how many coins one ether is worth, like 3000`);
}

function readThreads(text: string | undefined): number {
  if (text === undefined) return defaultThreads();
  const threads = Number(text);
  if (!Number.isInteger(threads) || threads < 1 || threads > LIMITS.workerThreads) {
    throw wrong(`--threads ${text}: expected 1 … ${LIMITS.workerThreads}`);
  }
  return threads;
}

function readMemory(text: string | undefined): number {
  if (text === undefined) return defaultMemoryBytes();
  const bytes = parseSize(text);
  if (bytes === null) throw wrong(`--memory ${text}: expected a size like 4G or 512M`);
  return bytes;
}

function readBackend(
  text: string | undefined,
  byDefault: CommonOptions['backend'],
): CommonOptions['backend'] {
  if (text === undefined || text === 'auto') return text ?? byDefault;
  const backend = BACKENDS.find((name) => name === text);
  if (backend !== undefined) return backend;
  throw wrong(`--backend ${text}: expected auto or one of ${BACKENDS.join(', ')}`);
}

function readName(text = ''): string {
  if (text.length > LIMITS.nameChars)
    throw wrong(`--name has more than ${LIMITS.nameChars} characters`);
  return text;
}

function wrong(message: string): RavenError {
  return new RavenError('cluster', message);
}
