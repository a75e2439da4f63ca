/** @file What is built from source, in order; each part is skipped while its inputs are unchanged. */
import { existsSync, readFileSync } from 'node:fs';
import { mustRun, npmCommand } from './exec.mjs';
import { fromRoot } from './paths.mjs';
import { hashInputs, isFresh, recordStamp } from './stamp.mjs';

const SHARED_INPUTS = ['package-lock.json', 'tsconfig.base.json'];

const hasScript = (folder, script) =>
  JSON.parse(readFileSync(fromRoot(folder, 'package.json'), 'utf8')).scripts?.[script] !==
  undefined;

/** Runs an npm script of a workspace. */
async function npmRun(workspace, script, failure) {
  const [npm, leading] = npmCommand();
  await mustRun(npm, [...leading, 'run', script, '--workspace', workspace], {
    log: `build-${script.replaceAll(':', '-')}-${workspace.replace(/\W+/g, '-')}`,
    failure,
    todo: 'mend the errors above; `npm run build` builds again',
  });
}

/**
 * @typedef {object} Part
 * @property {string} title
 * @property {readonly string[]} inputs files and folders whose contents decide whether to build
 * @property {readonly string[]} outputs files that must exist and be as the last build left them
 * @property {() => boolean} exists whether this checkout has the part at all
 * @property {() => Promise<unknown>} build
 */

/** @type {Readonly<Record<string, Part>>} */
export const PARTS = {
  typescript: {
    title: 'TypeScript (protocol, contracts, kernel, worker)',
    inputs: [
      ...SHARED_INPUTS,
      ...['protocol', 'contracts', 'kernel', 'worker'].flatMap((name) => [
        `${name}/src`,
        `${name}/package.json`,
        `${name}/tsconfig.json`,
      ]),
    ],
    outputs: ['protocol', 'contracts', 'kernel', 'worker'].map(
      (name) => `${name}/dist/.tsbuildinfo`,
    ),
    exists: () => existsSync(fromRoot('kernel/src/main.ts')),
    build: () =>
      mustRun(
        process.execPath,
        [
          fromRoot('node_modules/typescript/bin/tsc'),
          '-b',
          'protocol',
          'contracts',
          'kernel',
          'worker',
        ],
        {
          log: 'build-typescript',
          failure: 'TypeScript sources do not compile',
          todo: 'mend the errors above; `npm run build` builds again',
        },
      ),
  },
  wasm: {
    title: 'WebAssembly (reduce and optimizer loops)',
    inputs: [
      ...SHARED_INPUTS,
      'kernel/package.json',
      'kernel/src/engine/wasm/assembly',
      'worker/package.json',
    ],
    outputs: ['kernel/dist/engine/wasm/kernels.wasm', 'worker/dist/compute/wasm/sums.wasm'],
    exists: () => hasScript('kernel', 'build:wasm'),
    build: async () => {
      for (const workspace of ['ravenlab', '@ravenlab/worker']) {
        await npmRun(workspace, 'build:wasm', 'WebAssembly loops do not compile');
      }
    },
  },
  extension: {
    title: 'JupyterLab extension',
    inputs: [
      ...SHARED_INPUTS,
      'protocol/src',
      'extension/src',
      'extension/style',
      'extension/schema',
      'extension/package.json',
      'extension/tsconfig.json',
    ],
    outputs: ['extension/labextension/package.json'],
    exists: () => hasScript('extension', 'build'),
    build: () => npmRun('@ravenlab/extension', 'build', 'the JupyterLab extension does not build'),
  },
};

/**
 * Builds one part if needed.
 * @param {keyof typeof PARTS} name
 * @returns {Promise<string>} a note for the progress line
 */
export async function buildPart(name) {
  const part = PARTS[name];
  if (!part.exists()) return 'not in this checkout';
  const inputs = hashInputs(part.inputs, process.version);
  if (isFresh(name, inputs, part.outputs)) return 'unchanged';
  await part.build();
  recordStamp(name, inputs, part.outputs);
  return 'built';
}
