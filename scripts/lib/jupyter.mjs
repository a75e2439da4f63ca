/** @file Puts our kernel, extension and settings where the virtual environment's Jupyter finds them. */
import {
  copyFileSync,
  existsSync,
  lstatSync,
  mkdirSync,
  readFileSync,
  readlinkSync,
  readdirSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { delimiter, dirname, join } from 'node:path';
import { cleanEnv } from './exec.mjs';
import { Failure } from './failure.mjs';
import { CACHE, VENV, fromRoot, venvProgram, venvShare } from './paths.mjs';

/**
 * What stands for a path of this machine in the committed template.
 * @type {Record<string, string>}
 */
const ARGUMENTS = {
  node: process.execPath,
  '{{KERNEL_MAIN}}': fromRoot('kernel', 'dist', 'main.js'),
};
const TEMPLATE = fromRoot('kernel', 'kernelspec');

/** Writes only when the content differs, so an unchanged file keeps its time. */
function writeIfChanged(file, text) {
  if (existsSync(file) && readFileSync(file, 'utf8') === text) return;
  mkdirSync(dirname(file), { recursive: true });
  writeFileSync(file, text);
}

/**
 * The kernelspec of this checkout: the committed template with absolute paths filled in.
 * `node` becomes the Node that runs this script, so that a kernel does not depend on PATH.
 * @param {{ argv: string[], display_name: string }} template
 */
export function fillKernelspec(template) {
  const argv = template.argv.map((part) => ARGUMENTS[part] ?? part);
  return { ...template, argv };
}

/** Installs the kernelspec `ravenlab` into .venv. */
export async function ensureKernelspec() {
  const source = join(TEMPLATE, 'kernel.json');
  if (!existsSync(source)) {
    throw new Failure(`the kernelspec template ${source} is missing`, {
      todo: 'restore it with `git checkout -- kernel/kernelspec`',
    });
  }
  const target = venvShare('kernels', 'ravenlab');
  const spec = fillKernelspec(JSON.parse(readFileSync(source, 'utf8')));
  writeIfChanged(join(target, 'kernel.json'), `${JSON.stringify(spec, null, 2)}\n`);
  for (const name of readdirSync(TEMPLATE)) {
    if (name !== 'kernel.json') copyFileSync(join(TEMPLATE, name), join(target, name));
  }
  return spec.display_name;
}

/** Links the built extension into .venv: a rebuild is live without another install. */
export async function ensureLabextension() {
  const built = fromRoot('extension', 'labextension');
  if (!existsSync(join(built, 'package.json'))) return 'not built in this checkout';
  const link = venvShare('labextensions', '@ravenlab', 'extension');
  const existing = lstatSync(link, { throwIfNoEntry: false });
  if (existing?.isSymbolicLink() === true && readlinkSync(link) === built) return 'linked';
  rmSync(link, { recursive: true, force: true });
  mkdirSync(dirname(link), { recursive: true });
  symlinkSync(built, link, 'junction');
  return 'linked';
}

/** Settings of our JupyterLab: nothing is fetched from the network, and no question about it is asked. */
export async function ensureLabSettings() {
  const settings = {
    '@jupyterlab/apputils-extension:notification': { checkForUpdates: false, fetchNews: 'false' },
  };
  const file = venvShare('lab', 'settings', 'overrides.json');
  writeIfChanged(file, `${JSON.stringify(settings, null, 2)}\n`);
}

/**
 * Environment of tests that run Jupyter: .venv first, and none of the person's own Jupyter settings.
 * @returns {NodeJS.ProcessEnv}
 */
export function jupyterEnv() {
  const home = join(CACHE, 'test', 'jupyter');
  // IPython warns where the folder above its own is missing.
  mkdirSync(home, { recursive: true });
  return cleanEnv({
    PATH: [dirname(venvProgram('python')), process.env.PATH].join(delimiter),
    VIRTUAL_ENV: VENV,
    JUPYTER_CONFIG_DIR: join(home, 'config'),
    JUPYTER_DATA_DIR: join(home, 'data'),
    JUPYTER_RUNTIME_DIR: join(home, 'runtime'),
    IPYTHONDIR: join(home, 'ipython'),
    JUPYTER_PREFER_ENV_PATH: '1',
    PYTHONDONTWRITEBYTECODE: '1',
  });
}
