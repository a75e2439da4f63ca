/** @file Which compute backends beyond those of npm start on this machine, for the suite that tries them all. */
import { existsSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import { ensureChromium } from './chromium.mjs';
import { cleanEnv, run } from './exec.mjs';
import { fromRoot } from './paths.mjs';
import { tryTensorflow } from './tensorflow.mjs';

/** Backends that need more than npm gives. */
const CANDIDATES = ['onnx-cuda', 'tfjs-node', 'tfjs-node-gpu', 'tfjs-webgpu'];
const PROBE_MS = 60_000;

/** Where drivers say that they are installed. */
const DRIVER_FOLDERS = ['/usr/share/vulkan/icd.d', '/etc/vulkan/icd.d'];
/** Chromium brings SwiftShader, a Vulkan driver in software, and a loader. */
const CHROMIUM_FOLDERS = ['/usr/lib/chromium', '/usr/lib64/chromium', '/usr/lib/chromium-browser'];
const SWIFTSHADER = 'vk_swiftshader_icd.json';

/** Settings under which WebGPU finds a driver: this machine's own, else Chromium's. */
async function vulkanEnv({ mayInstall }) {
  if (process.env.VK_ICD_FILENAMES !== undefined || DRIVER_FOLDERS.some(existsSync)) return {};
  // The reason comes from the backend itself, which then finds no driver.
  await ensureChromium({ mayInstall }).catch(() => undefined);
  const folder = CHROMIUM_FOLDERS.find((path) => existsSync(join(path, SWIFTSHADER)));
  if (folder === undefined) return {};
  const own = process.env.LD_LIBRARY_PATH;
  return {
    VK_ICD_FILENAMES: join(folder, SWIFTSHADER),
    LD_LIBRARY_PATH: own === undefined ? folder : `${own}${delimiter}${folder}`,
  };
}

/** @returns {Promise<string | null>} why it does not start; null when it does */
async function reasonAgainst(name, env) {
  const program = fromRoot('worker/dist/doctor/probeMain.js');
  const result = await run(process.execPath, [program, name, '1'], {
    log: `probe-${name}`,
    env: cleanEnv(env),
    timeoutMs: PROBE_MS,
  });
  const answer = result.output
    .split('\n')
    .map((line) => line.trim())
    .filter((line) => line.startsWith('{"isAvailable"'))
    .at(-1);
  if (answer === undefined) return `its process ended with code ${result.code}`;
  const { isAvailable, reason } = JSON.parse(answer);
  return isAvailable ? null : reason;
}

/**
 * @param {{ mayInstall: boolean }} options
 * @returns {Promise<NodeJS.ProcessEnv>} what the suite reads (test/conformance/lib/backends.ts), and what drivers need
 */
export async function deviceEnv(options) {
  const env = await vulkanEnv(options);
  const unlinked = options.mayInstall ? await tryTensorflow() : null;
  const reasons = await Promise.all(CANDIDATES.map((name) => reasonAgainst(name, env)));
  const linked = CANDIDATES.indexOf('tfjs-node');
  if (reasons[linked] !== null) reasons[linked] = unlinked ?? reasons[linked];
  const found = CANDIDATES.filter((_, index) => reasons[index] === null);
  const missing = CANDIDATES.flatMap((name, index) =>
    reasons[index] === null ? [] : [`${name} (${reasons[index]})`],
  );
  return {
    ...env,
    RAVENLAB_BACKENDS: found.join(' '),
    RAVENLAB_BACKENDS_MISSING: missing.join('\n'),
  };
}
