/** @file Where everything is, relative to this checkout; nothing here touches the disk. */
import { join, resolve } from 'node:path';

export const ROOT = resolve(import.meta.dirname, '..', '..');

/** @param {...string} parts */
export const fromRoot = (...parts) => join(ROOT, ...parts);

export const CACHE = fromRoot('.cache');
export const LOGS = join(CACHE, 'logs');
export const STAMPS = join(CACHE, 'stamps');

export const VENV = fromRoot('.venv');
const VENV_BIN = join(VENV, process.platform === 'win32' ? 'Scripts' : 'bin');

/** @param {string} program a console script of the virtual environment, e.g. `python` or `jupyter-lab` */
export const venvProgram = (program) =>
  join(VENV_BIN, process.platform === 'win32' ? `${program}.exe` : program);

/** Where the virtual environment's Jupyter looks for kernels, extensions and settings. */
export const venvShare = (...parts) => join(VENV, 'share', 'jupyter', ...parts);
