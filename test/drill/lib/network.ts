/**
 * @file A network as a payer finds it: an anvil that is nobody's simulated chain, keys of the drill's own, an escrow and play money,
 * set up by the commands that a person would use.
 */
import { execFile } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import type { SimulatedChain } from '@ravenlab/contracts';
import {
  ChainClient,
  EscrowClient,
  createKeystore,
  startSimulatedChain,
  tokenBalance,
  tokenCalls,
} from '@ravenlab/contracts';
import type { Address, JobId } from '@ravenlab/protocol';
import { CHAIN_CLI, WORKER_CLI } from './paths.js';

/** Not 31337: what is promised here counts, and well-known keys are refused. */
const CHAIN_ID = 424_242;
const ETHER = 10n ** 18n;
const COMMAND_MS = 60_000;
/** scrypt of keys that live for a minute. */
const SCRYPT_COST = 2;

const run = promisify(execFile);

/** Runs one of our programs to its end. @returns what it said. @throws Error with what it said when it fails. */
async function command(program: string, args: readonly string[], home: string): Promise<string> {
  // Drills are without a chain unless they bring one: what is in the home counts here.
  const { RAVENLAB_CHAIN: _, ...env } = process.env;
  try {
    const { stdout } = await run(process.execPath, [program, ...args], {
      env: { ...env, RAVENLAB_HOME: home },
      timeout: COMMAND_MS,
    });
    return stdout;
  } catch (error) {
    const { stdout = '', stderr = '' } = error as { readonly stdout?: string; stderr?: string };
    throw new Error(`${args.join(' ')} failed: ${stdout}${stderr}`, { cause: error });
  }
}

/** A worker's own command, as its owner runs it. */
export const workerCommand = (args: readonly string[], home: string): Promise<string> =>
  command(WORKER_CLI, args, home);

export interface NetworkOptions {
  /** RAVENLAB_HOME of the payer. */
  readonly home: string;
  /** Coins, whole ones. */
  readonly minted: bigint;
  readonly deposit: bigint;
}

export class Network {
  readonly chain: SimulatedChain;
  readonly client: ChainClient;
  readonly payer: Address;
  escrow!: EscrowClient;
  token!: Address;
  job!: JobId;
  private readonly home: string;

  private constructor(
    chain: SimulatedChain,
    client: ChainClient,
    options: NetworkOptions & { readonly payer: Address },
  ) {
    this.chain = chain;
    this.client = client;
    this.payer = options.payer;
    this.home = options.home;
  }

  /** Starts the chain, deploys, sets up, opens a job; all but the chain and the mint by `npm run chain`. */
  static async open(options: NetworkOptions): Promise<Network> {
    mkdirSync(options.home, { recursive: true, mode: 0o700 });
    const chain = await startSimulatedChain({ chainId: CHAIN_ID });
    try {
      return await Network.setUp(chain, options);
    } catch (error) {
      await chain.stop();
      throw error;
    }
  }

  private static async setUp(chain: SimulatedChain, options: NetworkOptions): Promise<Network> {
    const { home, minted, deposit } = options;
    const client = await ChainClient.open(chain.url, CHAIN_ID);
    const password = join(home, 'password');
    writeFileSync(password, 'of a drill\n', { mode: 0o600 });
    const key = async (name: string): Promise<Address> => {
      const made = { password: 'of a drill', scryptCost: SCRYPT_COST };
      return (await createKeystore(join(home, `${name}.json`), made)).address;
    };
    const network = new Network(chain, client, { ...options, payer: await key('payer') });
    await key('signer');
    await network.giveEther(network.payer, 10n * ETHER);
    const at = ['--rpc', chain.url, '--chain-id', String(CHAIN_ID)];
    const payer = ['--payer', join(home, 'payer.json'), '--payer-password-file', password];
    const deployed = await network.cli(['deploy', ...at, ...payer, '--dev-token', 'PLAY']);
    const escrow = addressIn(deployed, 'escrow');
    network.token = addressIn(deployed, 'token');
    network.escrow = await EscrowClient.at(client, escrow);
    await network.mint(minted * ETHER);
    const signer = ['--signer', join(home, 'signer.json'), '--signer-password-file', password];
    const contracts = ['--escrow', escrow, '--token', network.token, '--confirmations', '1'];
    await network.cli(['setup', ...at, ...contracts, ...signer, ...payer, '--name', 'drill']);
    const opened = await network.cli(['open', '--deposit', String(deposit)]);
    network.job = wordIn(opened, /job (0x[0-9a-f]{64})/) as JobId;
    return network;
  }

  /** `npm run chain -- …` of the payer. */
  cli(args: readonly string[]): Promise<string> {
    return command(CHAIN_CLI, args, this.home);
  }

  async giveEther(account: Address, wei: bigint): Promise<void> {
    await this.client.rpc.call('anvil_setBalance', [account, `0x${wei.toString(16)}`]);
  }

  balance(account: Address): Promise<bigint> {
    return tokenBalance(this.client, this.token, account);
  }

  /** Moves the chain's clock on. */
  async travel(seconds: number): Promise<void> {
    await this.client.rpc.call('evm_increaseTime', [seconds]);
    await this.client.rpc.call('evm_mine', []);
  }

  private async mint(amount: bigint): Promise<void> {
    const { payer, token: to } = this;
    await this.client.rpc.call('anvil_impersonateAccount', [payer]);
    const data = tokenCalls.mint(payer, amount);
    await this.client.rpc.call('eth_sendTransaction', [{ from: payer, to, data }]);
    await this.client.rpc.call('anvil_stopImpersonatingAccount', [payer]);
    if ((await this.balance(payer)) < amount) throw new Error('the play money was not minted');
  }
}

function addressIn(text: string, what: string): Address {
  return wordIn(text, new RegExp(`${what}: (0x[0-9a-fA-F]{40})`)).toLowerCase() as Address;
}

function wordIn(text: string, pattern: RegExp): string {
  const found = pattern.exec(text)?.[1];
  if (found === undefined) throw new Error(`no ${pattern.source} in: ${text}`);
  return found;
}
