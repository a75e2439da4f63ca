/** @file The browser of the browser tests: the distribution's Chromium, found or installed with apt. */
import { accessSync, constants } from 'node:fs';
import { delimiter, join } from 'node:path';
import { ensureSystemPackages } from './apt.mjs';
import { Failure } from './failure.mjs';

const NAMES = ['chromium', 'chromium-browser', 'google-chrome', 'google-chrome-stable'];
const EXTRA_FOLDERS = ['/usr/bin', '/Applications/Google Chrome.app/Contents/MacOS'];

function isExecutable(file) {
  try {
    accessSync(file, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

function findChromium() {
  const chosen = process.env.RAVENLAB_CHROMIUM;
  if (chosen !== undefined) {
    if (isExecutable(chosen)) return chosen;
    throw new Failure(`RAVENLAB_CHROMIUM is ${chosen}, which is not a program`, {
      todo: 'set it to the path of a Chromium or Chrome, or leave it unset',
    });
  }
  const folders = [...(process.env.PATH ?? '').split(delimiter), ...EXTRA_FOLDERS];
  const candidates = folders.flatMap((folder) => NAMES.map((name) => join(folder, name)));
  return candidates.find(isExecutable);
}

/**
 * @param {{ mayInstall: boolean }} options
 * @returns {Promise<string>} path of the browser program
 */
export async function ensureChromium({ mayInstall }) {
  const found = findChromium();
  if (found !== undefined) return found;
  // Without a font every label of a page is empty boxes, and screenshots would show them.
  await ensureSystemPackages(['chromium', 'fonts-dejavu-core'], {
    mayInstall,
    why: 'browser tests need Chromium, and none was found',
  });
  const installed = findChromium();
  if (installed !== undefined) return installed;
  throw new Failure('the package chromium is installed, but it brought no program of that name', {
    todo: 'set RAVENLAB_CHROMIUM to the path of a Chromium or Chrome',
  });
}
