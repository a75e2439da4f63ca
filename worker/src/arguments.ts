/** @file The worker's command line: what can be asked for, and clear words for what cannot. */
import { parseArgs } from 'node:util';
import type { BackendName, Invite } from '@ravenlab/protocol';
import { LIMITS, RavenError, decodeInvite } from '@ravenlab/protocol';
import { INSTALLED_BACKENDS } from './compute/openBackend.js';
import { defaultMemoryBytes, defaultThreads, parseSize } from './machineInfo.js';

export const USAGE = `Lend this machine to a RavenLab cluster.

  npm run worker -- join <invite> [options]
  npm run worker -- doctor             which backends work here, and how fast

The invite comes from the cluster panel (Invite) or from cluster.invite() in a notebook.

  --threads <n>      compute threads (default: all cores)
  --memory <size>    memory to use at most, like 4G (default: half of the machine's)
  --backend <name>   auto | ${INSTALLED_BACKENDS.join(' | ')} (default: auto)
  --name <text>      name shown to the cluster (default: none)

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
  | ({ readonly kind: 'join'; readonly invite: Invite } & CommonOptions)
  /** An engine starts a worker of its own; the secret comes in the environment. */
  | ({ readonly kind: 'run'; readonly endpoint: string; readonly token: string } & CommonOptions);

/** An engine's own workers share the machine with the notebook, and start without trying devices out. */
const LOCAL_BACKEND: BackendName = 'onnx-cpu';

const TOKEN_VARIABLE = 'RAVENLAB_WORKER_TOKEN';

/** @throws RavenError 'cluster' saying which argument is wrong and what is possible. */
export function readArguments(
  args: readonly string[],
  environment: Readonly<Record<string, string | undefined>>,
): Command {
  const { values, positionals } = parse(args);
  const [command, ...operands] = positionals;
  if (values.help === true || command === undefined || command === 'help') return { kind: 'help' };
  if (command === 'doctor') return { kind: 'doctor', threads: readThreads(values.threads) };
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
    return { kind: 'join', invite: decodeInvite(invite), ...common };
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
  throw wrong(`unknown command "${command}"; expected join or doctor`);
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
        connect: { type: 'string' },
        help: { type: 'boolean', short: 'h' },
      },
    });
  } catch (error) {
    throw wrong(error instanceof Error ? error.message : String(error));
  }
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
  const backend = INSTALLED_BACKENDS.find((name) => name === text);
  if (backend !== undefined) return backend;
  throw wrong(`--backend ${text}: expected auto or one of ${INSTALLED_BACKENDS.join(', ')}`);
}

function readName(text = ''): string {
  if (text.length > LIMITS.nameChars)
    throw wrong(`--name has more than ${LIMITS.nameChars} characters`);
  return text;
}

function wrong(message: string): RavenError {
  return new RavenError('cluster', message);
}
