/** @file The command `npm run chain`: keys, escrows and jobs on a network, for the person who pays. Composition only. */
import { ChainError, RavenError } from '@ravenlab/protocol';
import { Arguments, USAGE } from './arguments.js';
import type { Env, Say } from './desk.js';
import { atDesk } from './desk.js';
import type { JobCommand } from './jobCommands.js';
import { deposit, extend, open, refund, reserve, settle, status } from './jobCommands.js';
import { deploy, keystore, setUp } from './keyCommands.js';
import { verify } from './verifyCommand.js';

type Command = (args: Arguments, env: Env, say: Say) => Promise<void>;

const atJob =
  (command: JobCommand): Command =>
  (args, env, say) =>
    atDesk(args, env, say, (desk) => command(desk, args, say));

const COMMANDS: ReadonlyMap<string, Command> = new Map<string, Command>([
  ['keystore', keystore],
  ['deploy', deploy],
  ['setup', setUp],
  ['open', atJob(open)],
  ['status', atJob(status)],
  ['deposit', atJob(deposit)],
  ['extend', atJob(extend)],
  ['reserve', atJob(reserve)],
  ['settle', atJob(settle)],
  ['refund', atJob(refund)],
  ['verify', verify],
]);

const EXIT = { fine: 0, failed: 1, usage: 2 } as const;

const say: Say = (text) => {
  process.stdout.write(`${text}\n`);
};

async function main(): Promise<number> {
  try {
    const args = Arguments.parse(process.argv.slice(2));
    const name = args.words[0] ?? '';
    if (args.isHelp) {
      say(USAGE);
      return EXIT.fine;
    }
    const command = COMMANDS.get(name);
    if (command === undefined) {
      process.stderr.write(`ravenlab chain: there is no command '${name}'\n\n${USAGE}\n`);
      return EXIT.usage;
    }
    await command(args, process.env, say);
    return EXIT.fine;
  } catch (error) {
    if (!(error instanceof RavenError)) throw error;
    process.stderr.write(`ravenlab chain: ${error.message}\n`);
    return error instanceof ChainError ? EXIT.failed : EXIT.usage;
  }
}

process.exitCode = await main();
