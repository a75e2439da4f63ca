/** @file Everything a checkout needs before it can run; each step is idempotent and skips itself. */
import { buildPart, PARTS } from './build.mjs';
import { withLock } from './lock.mjs';
import { ensureKernelspec, ensureLabSettings, ensureLabextension } from './jupyter.mjs';
import { checkNode, ensurePackages } from './packages.mjs';
import { step } from './progress.mjs';
import { ensureVenv } from './python.mjs';

async function makeSources(parts) {
  checkNode();
  await step('Node packages', ensurePackages);
  for (const name of parts) await step(PARTS[name].title, () => buildPart(name));
}

/**
 * Node packages and what is built from source; Python is not needed.
 * @param {ReadonlyArray<keyof typeof PARTS>} [parts] all of them unless named
 */
export async function setUpSources(parts = Object.keys(PARTS)) {
  await withLock('setup', () => makeSources(parts));
}

async function setUpPython(mayInstall) {
  await step('JupyterLab in .venv', () => ensureVenv({ mayInstall }));
}

/**
 * Everything: sources, JupyterLab in .venv, our kernel and extension in it.
 * @param {{ mayInstall?: boolean }} [options] `mayInstall`: system packages may be installed with apt when we are root
 */
export async function setUp({ mayInstall = false } = {}) {
  await withLock('setup', async () => {
    // Both sides mostly wait for the network; when one fails, the other ends first.
    const sides = await Promise.allSettled([
      makeSources(Object.keys(PARTS)),
      setUpPython(mayInstall),
    ]);
    const failed = sides.find((side) => side.status === 'rejected');
    if (failed !== undefined) throw failed.reason;
    await step('Kernel, extension and settings', async () => {
      await ensureLabSettings();
      const extension = await ensureLabextension();
      return `kernel ${await ensureKernelspec()}, extension ${extension}`;
    });
  });
}
