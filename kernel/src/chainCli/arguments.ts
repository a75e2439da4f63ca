/** @file The command line of `npm run chain`: what can be asked for, and clear words for what cannot. */
import { parseArgs } from 'node:util';
import { ChainError } from '@ravenlab/protocol';

export const USAGE = `Pay contributors on a chain of your own choice. Without settings, engines use a simulated one.

  npm run chain -- keystore new <file>          makes a key; keystore import <file> takes one; keystore address <file> tells whose
  npm run chain -- deploy --rpc <url> --chain-id <n> --payer <keystore>
                                                deploys an escrow; with --dev-token <symbol>, play money too
  npm run chain -- setup --rpc <url> --chain-id <n> --escrow <address> --token <address>
                         --signer <keystore> [--payer <keystore>]
                                                checks all of it, and writes the settings that engines use from then on
  npm run chain -- open --deposit <coins> [--days <n>]
                                                opens a job; the next notebook that trains takes it
  npm run chain -- status                       the account, the jobs, the transactions
  npm run chain -- deposit <coins>              adds to the job; extend --days <n> makes it last longer
  npm run chain -- reserve <payee> <coins>      a lane's cap; settle <payee> <coins> pays one up to this
  npm run chain -- refund                       sends back what is free, and a day after the expiry what is reserved
  npm run chain -- verify <file> [--rpc <url> --chain-id <n> --escrow <address>]
                                                hashes an exported ledger again, and compares it with what the chain paid

  --settings <file>              default: chain.json in RAVENLAB_HOME
  --job <id>                     when there are several, by the first characters of its id
  --payer-password-file <file>   a file of mode 0600; --signer-password-file <file> likewise. Without one, it is asked for, or
                                 taken from RAVENLAB_CHAIN_PASSWORD
  --password-file <file>         for keystore
  --name <text>  --explorer <url with {hash}>  --confirmations <n>  --max-fee-gwei <n>
  --second-rpc <url>             for setup; a second node, of somebody else's: what both say counts, and nothing is signed
                                 while they contradict each other
  --price-per-tflop <coins>  --price-per-tib <coins>
                                 for setup; what work costs: 0.001 and 0 without them
  --ether-price <coins>  --settle-at-least <coins>  --settle-every-hours <n>  --settle-times-fee <n>
                                 for setup; engines settle by themselves from so much on, or after so long, when it is that many
                                 times the gas. Without the price of an ether, when somebody asks
  --per-contributor <coins>  --per-hour <coins>  --per-run <coins>
                                 for setup; what engines promise at most

Nothing is repeated by asking again: a transaction that is on its way is in the outbox, and goes on with the next command.`;

const OPTIONS = {
  help: { type: 'boolean', short: 'h' },
  rpc: { type: 'string' },
  'second-rpc': { type: 'string' },
  'chain-id': { type: 'string' },
  escrow: { type: 'string' },
  token: { type: 'string' },
  'dev-token': { type: 'string' },
  decimals: { type: 'string' },
  signer: { type: 'string' },
  payer: { type: 'string' },
  'payer-password-file': { type: 'string' },
  'signer-password-file': { type: 'string' },
  'password-file': { type: 'string' },
  settings: { type: 'string' },
  job: { type: 'string' },
  deposit: { type: 'string' },
  days: { type: 'string' },
  name: { type: 'string' },
  explorer: { type: 'string' },
  confirmations: { type: 'string' },
  'max-fee-gwei': { type: 'string' },
  'price-per-tflop': { type: 'string' },
  'price-per-tib': { type: 'string' },
  'ether-price': { type: 'string' },
  'settle-at-least': { type: 'string' },
  'settle-times-fee': { type: 'string' },
  'settle-every-hours': { type: 'string' },
  'per-contributor': { type: 'string' },
  'per-hour': { type: 'string' },
  'per-run': { type: 'string' },
} as const;

export type OptionName = Exclude<keyof typeof OPTIONS, 'help'>;

export class Arguments {
  readonly words: readonly string[];
  readonly isHelp: boolean;
  private readonly values: Readonly<Partial<Record<string, string | boolean>>>;

  private constructor(
    words: readonly string[],
    values: Readonly<Partial<Record<string, string | boolean>>>,
  ) {
    this.words = words;
    this.values = values;
    this.isHelp = values['help'] === true || words.length === 0;
  }

  /** @throws ChainError for an option that there is not. */
  static parse(argv: readonly string[]): Arguments {
    try {
      const { positionals, values } = parseArgs({
        ...{ args: [...argv], options: OPTIONS, allowPositionals: true },
      });
      return new Arguments(positionals, values);
    } catch (cause) {
      throw new ChainError((cause as Error).message, { fault: 'user', cause });
    }
  }

  option(name: OptionName): string | null {
    const value = this.values[name];
    return typeof value === 'string' ? value : null;
  }

  required(name: OptionName): string {
    return this.option(name) ?? refuse(`--${name} is missing`);
  }

  /** The word at `index`. */
  word(index: number, what: string): string {
    return this.words[index] ?? refuse(`${what} is missing`);
  }

  /** A whole number of at least 1. */
  whole(name: OptionName, otherwise: number | null): number {
    const text = this.option(name);
    if (text === null) return otherwise ?? refuse(`--${name} is missing`);
    const value = Number(text);
    if (/^\d{1,15}$/.test(text) && value >= 1) return value;
    return refuse(`--${name} is '${text}', expected a whole number of at least 1`);
  }
}

function refuse(text: string): never {
  throw new ChainError(`${text}; npm run chain -- --help tells more`, { fault: 'user' });
}
