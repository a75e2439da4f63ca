/** @file Other versions of Node, as npm packages: what must give the same bits everywhere is tried on them. */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { npmCommand, run } from './exec.mjs';
import { CACHE } from './paths.mjs';

/** The long-term versions beside the oldest that is supported. */
const VERSIONS = ['20', '22', '24'];
const INSTALL_MS = 180_000;

const isThisOne = (version) => process.versions.node.startsWith(`${version}.`);

/** @returns {Promise<string | null>} path of the program; null when npm has it not or cannot be reached */
async function ensureNode(version, mayInstall) {
  const name = `node-${process.platform === 'win32' ? 'win' : process.platform}-${process.arch}`;
  const folder = join(CACHE, 'nodes', version);
  const program = join(folder, 'node_modules', name, 'bin', 'node');
  const found = [program, `${program}.exe`].find(existsSync);
  if (found !== undefined || !mayInstall) return found ?? null;
  const [npm, leading] = npmCommand();
  const options = ['--prefix', folder, '--no-save', '--no-package-lock', '--ignore-scripts'];
  const args = [...leading, 'install', ...options, '--no-audit', '--no-fund', `${name}@${version}`];
  await run(npm, args, { log: `node-${version}`, timeoutMs: INSTALL_MS });
  return [program, `${program}.exe`].find(existsSync) ?? null;
}

/**
 * Programs of the other supported Node versions, for suites that start them.
 * @param {{ mayInstall: boolean }} options
 * @returns {Promise<NodeJS.ProcessEnv>}
 */
export async function otherNodes({ mayInstall }) {
  const wanted = VERSIONS.filter((version) => !isThisOne(version));
  const found = await Promise.all(wanted.map((version) => ensureNode(version, mayInstall)));
  const missing = wanted.filter((_, index) => found[index] === null);
  return {
    RAVENLAB_NODES: found.filter((program) => program !== null).join('\n'),
    RAVENLAB_NODES_MISSING: missing.map((version) => `npm gave no Node ${version}`).join(', '),
  };
}
