/** @file The virtual environment in .venv: JupyterLab and the runners, pinned by requirements.txt. */
import { existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { ensureSystemPackages } from './apt.mjs';
import { capture, mustRun } from './exec.mjs';
import { Failure } from './failure.mjs';
import { VENV, fromRoot, venvProgram } from './paths.mjs';
import { hashInputs } from './stamp.mjs';

const PYTHON_MINIMUM = [3, 10];
/** Tried in order; RAVENLAB_PYTHON names another one. */
const CANDIDATES = [
  ['python3', []],
  ['python', []],
  ['py', ['-3']],
];
const PROBE = 'import sys, json; print(json.dumps([*sys.version_info[:3], sys.executable]))';
const STAMP = join(VENV, '.ravenlab-requirements');

const pipOptions = ['--disable-pip-version-check', '--no-input', '--quiet'];

/** @returns {Promise<{ command: string, version: string }>} the first Python that is new enough */
async function findPython() {
  const chosen = process.env.RAVENLAB_PYTHON;
  const candidates = chosen === undefined ? CANDIDATES : [[chosen, []]];
  const seen = [];
  for (const [command, leading] of candidates) {
    const output = await capture(command, [...leading, '-c', PROBE]);
    if (output === null) continue;
    const [major, minor, patch, executable] = JSON.parse(output.trim().split('\n').at(-1));
    const version = `${major}.${minor}.${patch}`;
    if (major === PYTHON_MINIMUM[0] && minor >= PYTHON_MINIMUM[1]) {
      return { command: executable, version };
    }
    seen.push(`${command} is ${version}`);
  }
  const found = seen.length === 0 ? 'none was found' : seen.join(', ');
  throw new Failure(
    `Python ${PYTHON_MINIMUM.join('.')} or newer is needed for JupyterLab; ${found}`,
    {
      todo: 'install Python, or set RAVENLAB_PYTHON to the path of one',
    },
  );
}

/** Makes .venv with pip in it; Debian's Python lacks the part that does this until it is installed. */
async function createVenv(python, { mayInstall }) {
  rmSync(VENV, { recursive: true, force: true });
  const hasEnsurepip = (await capture(python.command, ['-c', 'import ensurepip, venv'])) !== null;
  if (hasEnsurepip) {
    await mustRun(python.command, ['-m', 'venv', VENV], {
      log: 'venv',
      failure: 'the virtual environment .venv could not be made',
    });
    return;
  }
  const minor = python.version.split('.').slice(0, 2).join('.');
  await ensureSystemPackages([`python${minor}-venv`], {
    mayInstall,
    why: `Python ${python.version} at ${python.command} cannot make virtual environments (no ensurepip)`,
  });
  await mustRun(python.command, ['-m', 'venv', VENV], {
    log: 'venv',
    failure: 'the virtual environment .venv could not be made',
  });
}

/**
 * Brings .venv to the state of requirements.txt.
 * @param {{ mayInstall: boolean }} options whether missing system packages may be installed with apt
 */
export async function ensureVenv(options) {
  const wanted = hashInputs(['requirements.txt']);
  const python = venvProgram('python');
  const isUsable = existsSync(python) && existsSync(venvProgram('jupyter-lab'));
  if (isUsable && existsSync(STAMP) && readFileSync(STAMP, 'utf8') === wanted) {
    return 'up to date';
  }
  if (!existsSync(python) || (await capture(python, ['-m', 'pip', '--version'])) === null) {
    await createVenv(await findPython(), options);
  }
  const file = fromRoot('requirements.txt');
  await mustRun(python, ['-m', 'pip', 'install', ...pipOptions, '--requirement', file], {
    log: 'pip-install',
    failure: 'JupyterLab could not be installed into .venv',
    todo: 'check the network and the package index setting (`pip config list`), then run the command again',
  });
  // JupyterLab runs a CommonJS `yarn.js` from here; without this it inherits our "type": "module".
  writeFileSync(join(VENV, 'package.json'), '{ "type": "commonjs" }\n');
  writeFileSync(STAMP, wanted);
  return 'installed';
}
