/**
 * @file What the compute process may touch, as far as Node can say: what it inherits of the environment, and the flags that
 * take files, other processes and generated code from its JavaScript. What native code does, no flag of Node bounds.
 */
import { existsSync, realpathSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join, sep } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { BackendName } from '@ravenlab/protocol';
import { withLargePages } from '@ravenlab/protocol';
import { BACKEND_TABLE } from '../backendTable.js';
import { tensorflowFolder } from '../tfjs/tensorflowFolder.js';

type Environment = Readonly<Record<string, string | undefined>>;

/** What libraries of devices look for; names in full, or how they begin. Nothing of ours, nothing of npm's or Node's. */
const INHERITED: readonly string[] = [
  ...['PATH', 'LANG', 'TMPDIR', 'TEMP', 'TMP', 'SystemRoot', 'XDG_RUNTIME_DIR'],
  ...['LD_LIBRARY_PATH', 'DYLD_LIBRARY_PATH', 'GLIBC_TUNABLES', 'RAVENLAB_TENSORFLOW'],
];
const INHERITED_PREFIXES: readonly string[] = ['CUDA_', 'NVIDIA_', 'TF_', 'VK_', 'MESA_', 'OMP_'];

const BYTES_PER_KIB = 1024;

/** The environment of a compute process. */
export function confinedEnvironment(
  backend: BackendName,
  environment: Environment,
): Record<string, string> {
  const confined: Record<string, string> = { ...BACKEND_TABLE[backend].environment };
  for (const [name, value] of Object.entries(environment)) {
    const isInherited =
      INHERITED.includes(name) || INHERITED_PREFIXES.some((prefix) => name.startsWith(prefix));
    if (isInherited && value !== undefined) confined[name] = value;
  }
  return withLargePages(confined);
}

/**
 * A command whose process is refused memory beyond `bytes`: what Linux counts is all that is its own and that it can write to. Elsewhere
 * there is no such bound, and none for what a driver maps for its device.
 */
export function boundedCommand(
  [program, ...args]: readonly [string, ...string[]],
  bytes: number,
): [string, string[]] {
  if (process.platform !== 'linux' || bytes === Infinity) return [program, args];
  // Node cannot bound itself: a shell does, and becomes it. Where the owner has set less, that stays.
  const script = 'ulimit -d "$0" 2>/dev/null; exec "$@"';
  return ['/bin/sh', ['-c', script, String(Math.ceil(bytes / BYTES_PER_KIB)), program, ...args]];
}

/** Arguments for Node: files of its modules and nothing else, no processes, no code made of text. */
export function confinedFlags(): string[] {
  const known = process.allowedNodeEnvironmentFlags;
  const permission = known.has('--permission') ? '--permission' : '--experimental-permission';
  return [
    permission,
    '--allow-addons',
    '--allow-worker',
    ...readableFolders().map((folder) => `--allow-fs-read=${folder}${sep}`),
    '--disallow-code-generation-from-strings',
    // The permission model calls itself experimental, in words, at each start.
    '--no-warnings',
  ];
}

/** Where its modules are: this package, the protocol, every node_modules above, and the link to TensorFlow. */
function readableFolders(): string[] {
  const ours = packageFolder(fileURLToPath(import.meta.url));
  const protocol = packageFolder(createRequire(import.meta.url).resolve('@ravenlab/protocol'));
  const folders = [ours, protocol, tensorflowFolder()];
  for (let folder = ours; folder !== dirname(folder); folder = dirname(folder)) {
    folders.push(join(folder, 'node_modules'));
  }
  const present = folders.filter((folder) => existsSync(folder));
  return [...new Set([...present, ...present.map((folder) => realpathSync(folder))])];
}

/** The closest folder above a file that has a package.json. */
function packageFolder(file: string): string {
  let folder = dirname(file);
  while (!existsSync(join(folder, 'package.json')) && folder !== dirname(folder)) {
    folder = dirname(folder);
  }
  return folder;
}
