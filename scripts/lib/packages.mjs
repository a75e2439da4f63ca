/** @file Node packages: installed when the tree in node_modules is not the one the lock file names. */
import { existsSync, lstatSync, readFileSync, readlinkSync, rmSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';
import { mustRun, npmCommand } from './exec.mjs';
import { Failure } from './failure.mjs';
import { fromRoot } from './paths.mjs';

const NODE_MINIMUM = [20, 19];
const DEPENDENCY_KINDS = ['dependencies', 'devDependencies', 'optionalDependencies'];

const readJson = (path) => JSON.parse(readFileSync(path, 'utf8'));

/** Refuses a Node that is too old with a sentence, before it fails with a syntax error. */
export function checkNode(version = process.versions.node) {
  const [major = 0, minor = 0] = version.split('.').map(Number);
  const [needMajor, needMinor] = NODE_MINIMUM;
  if (major > needMajor || (major === needMajor && minor >= needMinor)) return;
  throw new Failure(`Node ${NODE_MINIMUM.join('.')} or newer is needed; this is ${version}`, {
    todo: "install a current Node (for example with your system's package manager or nvm)",
  });
}

/**
 * Manifests whose dependencies differ from what the lock file recorded for them.
 * @param {Record<string, object>} locked `packages` of package-lock.json
 */
function changedManifests(locked) {
  const workspaces = ['', ...readJson(fromRoot('package.json')).workspaces];
  return workspaces.filter((folder) => {
    const manifest = readJson(fromRoot(folder, 'package.json'));
    return DEPENDENCY_KINDS.some((kind) => {
      const asked = Object.entries(manifest[kind] ?? {}).sort();
      const known = Object.entries(locked[folder]?.[kind] ?? {}).sort();
      return JSON.stringify(asked) !== JSON.stringify(known);
    });
  });
}

/** True when node_modules holds every package of the lock file at the locked version. */
function isInstalled(locked) {
  const hidden = fromRoot('node_modules', '.package-lock.json');
  if (!existsSync(hidden)) return false;
  const installed = readJson(hidden).packages;
  return Object.entries(locked).every(([path, entry]) => {
    if (!path.includes('node_modules/')) return true;
    // npm leaves out optional packages of other platforms.
    if (installed[path] === undefined) return entry.optional === true || entry.peer === true;
    return entry.link === true || installed[path].version === entry.version;
  });
}

/**
 * Makes `npx tsc` the TypeScript of this checkout. tslab's frozen fork (5.0) declares the same
 * program names, and npm lets whichever it links last win.
 */
function claimCompilerNames() {
  if (process.platform === 'win32') return; // scripts call the compiler by its path
  for (const name of ['tsc', 'tsserver']) {
    const link = fromRoot('node_modules', '.bin', name);
    const target = join('..', 'typescript', 'bin', name);
    if (lstatSync(link, { throwIfNoEntry: false })?.isSymbolicLink() !== true) continue;
    if (readlinkSync(link) === target) continue;
    rmSync(link);
    symlinkSync(target, link);
  }
}

/** Brings node_modules to the state of the lock file. */
export async function ensurePackages() {
  const lockFile = fromRoot('package-lock.json');
  const locked = existsSync(lockFile) ? readJson(lockFile).packages : {};
  const changed = changedManifests(locked);
  if (changed.length === 0 && isInstalled(locked)) {
    claimCompilerNames();
    return 'up to date';
  }
  const [npm, leading] = npmCommand();
  // A clone whose manifests match its lock must not have the lock rewritten by another npm version.
  const save = changed.length === 0 ? ['--no-save'] : [];
  await mustRun(
    npm,
    [...leading, 'install', ...save, '--no-audit', '--no-fund', '--prefer-offline'],
    {
      log: 'npm-install',
      failure: 'Node packages could not be installed',
      todo: 'check the network and the npm registry setting (`npm config get registry`), then run the command again',
    },
  );
  if (!isInstalled(readJson(lockFile).packages)) {
    throw new Failure('npm install ended well, but node_modules does not match package-lock.json', {
      todo: 'delete node_modules and run the command again',
    });
  }
  claimCompilerNames();
  return changed.length === 0 ? 'installed' : 'installed, package-lock.json updated';
}
