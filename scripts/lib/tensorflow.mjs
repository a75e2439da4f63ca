/**
 * @file TensorFlow for the backends tfjs-node and tfjs-node-gpu: the wheel from PyPI in .venv, and the addon of
 * @tensorflow/tfjs-node compiled against it. The package's own install is not used: it fetches a TensorFlow of 2022 from
 * a place that is no registry. Only on request: it takes a gigabyte.
 */
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { ensureSystemPackages } from './apt.mjs';
import { capture, cleanEnv, mustRun, npmCommand, run } from './exec.mjs';
import { Failure } from './failure.mjs';
import { VENV, fromRoot, venvProgram } from './paths.mjs';
import { step } from './progress.mjs';

const FOLDER = join(VENV, 'tfjs-node');
const MANIFEST = join(FOLDER, 'link.json');
const ADDON = join(FOLDER, 'tfjs_binding.node');
/** The C API of this line is the one that the addon was tried with. */
const WHEEL_LINE = '2.21';
const SOURCES = ['tfjs_backend.cc', 'tfjs_binding.cc'];
const MINUTE_MS = 60_000;

/** npm packages that are unpacked beside the addon, each with what npm must deliver. */
const PACKAGES = [
  {
    name: '@tensorflow/tfjs-node',
    version: '4.22.0',
    integrity:
      'sha512-uHrXeUlfgkMxTZqHkESSV7zSdKdV0LlsBeblqkuKU9nnfxB1pC6DtoyYVaLxznzZy7WQSegjcohxxCjAf6Dc7w==',
    folder: 'package',
  },
  {
    name: 'google-protobuf',
    version: '3.21.4',
    integrity:
      'sha512-MnG7N936zcKTco4Jd2PX2U96Kf9PxygAPKBug+74LHzmHXmceN16MmRcdgZv+DGef/S9YvQAfRsNCn4cjf9yyQ==',
    folder: join('node_modules', 'google-protobuf'),
  },
];

function checkPlatform() {
  if (process.platform === 'linux' && process.arch === 'x64') return;
  throw new Failure(
    `TensorFlow can be linked on Linux x64; this is ${process.platform} ${process.arch}`,
    {
      todo: 'use another backend: npm run worker -- doctor shows what works here',
    },
  );
}

/** @returns {Promise<{ folder: string, version: string } | null>} the wheel in .venv */
async function findWheel() {
  const probe =
    'import importlib.util as u, importlib.metadata as m, json, os\n' +
    's = u.find_spec("tensorflow")\n' +
    'names = [n for n in ("tensorflow", "tensorflow-cpu") if u.find_spec("tensorflow") and ' +
    'any(d.metadata["Name"].lower().replace("_", "-") == n for d in m.distributions())]\n' +
    'print(json.dumps({"folder": os.path.dirname(s.origin), "version": m.version(names[0])} if s and names else None))';
  const output = await capture(venvProgram('python'), ['-c', probe]);
  return output === null ? null : JSON.parse(output.trim().split('\n').at(-1));
}

async function ensureWheel(isGpu) {
  const wanted = isGpu
    ? `tensorflow[and-cuda]==${WHEEL_LINE}.*`
    : `tensorflow-cpu==${WHEEL_LINE}.*`;
  const known = await findWheel();
  const link = existsSync(MANIFEST) ? JSON.parse(readFileSync(MANIFEST, 'utf8')) : null;
  if (known?.version.startsWith(`${WHEEL_LINE}.`) && (link?.isGpu ?? isGpu) === isGpu) return known;
  // The two wheels put different libraries into one folder.
  const others = ['tensorflow', 'tensorflow-cpu'];
  const pip = ['-m', 'pip', '--disable-pip-version-check', '--no-input', '--quiet'];
  await run(venvProgram('python'), [...pip, 'uninstall', '--yes', ...others], {
    log: 'tf-uninstall',
  });
  // Its Python side is not used; the CUDA libraries are what the other wheel depends on.
  const options = isGpu ? [] : ['--no-deps'];
  await mustRun(venvProgram('python'), [...pip, 'install', ...options, wanted], {
    log: 'tf-wheel',
    timeoutMs: 20 * MINUTE_MS,
    failure: `pip could not install ${wanted} into .venv`,
    todo: `check the package index (\`pip config list\`) and that it has TensorFlow ${WHEEL_LINE} for this Python (3.10 to 3.13)`,
  });
  const wheel = await findWheel();
  if (wheel !== null) return wheel;
  throw new Failure('pip installed TensorFlow, but .venv does not hold it', {
    todo: 'delete .venv, run `npm start` once, then this again',
  });
}

/**
 * The libraries and headers that the addon needs. Throws a Failure that says what is wrong with the wheel.
 * @param {{ folder: string, version: string }} wheel as it is in .venv
 */
export function partsOf({ folder, version }) {
  const todo = `install one of the line ${WHEEL_LINE}: .venv/bin/pip install --force-reinstall --no-deps 'tensorflow-cpu==${WHEEL_LINE}.*'`;
  if (!version.startsWith(`${WHEEL_LINE}.`)) {
    throw new Failure(
      `the wheel in .venv is TensorFlow ${version}, expected ${WHEEL_LINE}: the addon calls a C API that others do not have`,
      { todo },
    );
  }
  const parts = {
    include: join(folder, 'include'),
    libraries: ['libtensorflow_cc.so.2', 'libtensorflow_framework.so.2'].map((name) =>
      join(folder, name),
    ),
  };
  const header = join(parts.include, 'tensorflow', 'c', 'eager', 'c_api.h');
  const missing = [header, ...parts.libraries].filter((file) => !existsSync(file));
  if (missing.length === 0) return parts;
  throw new Failure(`the wheel of TensorFlow ${version} has no ${missing.join(', ')}`, { todo });
}

async function unpack({ name, version, integrity, folder }) {
  const [npm, leading] = npmCommand();
  await mustRun(npm, [...leading, 'pack', `${name}@${version}`, '--silent'], {
    log: 'tf-pack',
    cwd: FOLDER,
    failure: `npm could not fetch ${name} ${version}`,
  });
  const file = join(FOLDER, `${name.replace('@', '').replace('/', '-')}-${version}.tgz`);
  const actual = `sha512-${createHash('sha512').update(readFileSync(file)).digest('base64')}`;
  if (actual !== integrity) {
    throw new Failure(
      `npm gave another ${name} ${version} than expected: ${actual}, not ${integrity}`,
      {
        todo: 'check the npm registry setting (`npm config get registry`); do not use what it gave',
      },
    );
  }
  const target = join(FOLDER, folder);
  mkdirSync(target, { recursive: true });
  await mustRun('tar', ['-xzf', file, '-C', target, '--strip-components=1'], {
    log: 'tf-unpack',
    failure: `${name} could not be unpacked`,
  });
}

async function unpackSources() {
  rmSync(FOLDER, { recursive: true, force: true });
  mkdirSync(FOLDER, { recursive: true });
  for (const entry of PACKAGES) await unpack(entry);
  // Kernels ask for all of tfjs and use its core: the one copy of this checkout.
  const union = join(FOLDER, 'node_modules', '@tensorflow', 'tfjs');
  mkdirSync(union, { recursive: true });
  writeFileSync(join(union, 'index.js'), "module.exports = require('@tensorflow/tfjs-core');\n");
}

async function findCompiler(mayInstall) {
  const chosen = process.env.CXX;
  const candidates = chosen === undefined ? ['c++', 'g++', 'clang++'] : [chosen];
  for (const name of candidates) if ((await capture(name, ['--version'])) !== null) return name;
  if (chosen !== undefined)
    throw new Failure(`CXX is ${chosen}, which does not run`, { todo: 'unset it' });
  await ensureSystemPackages(['g++'], { mayInstall, why: 'the addon needs a C++ compiler' });
  return 'g++';
}

async function compile({ include, libraries }, wheelFolder, mayInstall) {
  const compiler = await findCompiler(mayInstall);
  const args = ['-std=c++17', '-O2', '-shared', '-fPIC', '-DNAPI_VERSION=8'];
  args.push('-I', fromRoot('node_modules', 'node-api-headers', 'include'), '-I', include);
  args.push(...SOURCES.map((name) => join(FOLDER, 'package', 'binding', name)));
  args.push('-o', ADDON, ...libraries, `-Wl,-rpath,${wheelFolder}`);
  await mustRun(compiler, args, {
    log: 'tf-addon',
    timeoutMs: 5 * MINUTE_MS,
    failure: "tfjs-node's addon does not compile against this TensorFlow",
    todo: `use the line ${WHEEL_LINE} of TensorFlow and a compiler that knows C++17 (g++ 9 or newer, or set CXX)`,
  });
}

/** A product on the backend itself, in a process of its own: a wrong library ends it. */
async function smokeTest(name) {
  const program = fromRoot('worker/dist/doctor/probeMain.js');
  const { output, code } = await run(process.execPath, [program, name, '1', 'measure'], {
    log: 'tf-smoke',
    timeoutMs: 2 * MINUTE_MS,
    env: cleanEnv({ RAVENLAB_TENSORFLOW: FOLDER }),
  });
  const line = output.split('\n').find((text) => text.startsWith('{"isAvailable"'));
  if (line === undefined) {
    rmSync(MANIFEST, { force: true });
    throw new Failure(`the addon is built, but a process that loads it ended with code ${code}`, {
      detail: output,
      todo: 'look for a second TensorFlow, LLVM or CUDA on LD_LIBRARY_PATH',
    });
  }
  const answer = JSON.parse(line);
  if (answer.isAvailable) return answer;
  rmSync(MANIFEST, { force: true });
  throw new Failure(`the addon is built, but ${name} does not start: ${answer.reason}`, {
    todo:
      name === 'tfjs-node-gpu'
        ? 'check that nvidia-smi shows the card, and that the driver is new enough for CUDA 12'
        : 'run `npm run worker -- doctor`',
  });
}

/**
 * Links TensorFlow's CPU wheel unless it, or its sister for cards, is linked: for the tests, which go on without it.
 * @returns {Promise<string | null>} what keeps it from being linked
 */
export async function tryTensorflow() {
  if (existsSync(MANIFEST)) return null;
  try {
    await linkTensorflow({ isGpu: false, mayInstall: true });
    return null;
  } catch (error) {
    if (!(error instanceof Failure)) throw error;
    return error.message;
  }
}

/**
 * Links TensorFlow, or says what keeps it from being linked.
 * @param {{ isGpu: boolean, mayInstall: boolean }} options
 */
export async function linkTensorflow({ isGpu, mayInstall }) {
  checkPlatform();
  const wheel = await step(`TensorFlow ${WHEEL_LINE} in .venv`, () => ensureWheel(isGpu));
  const parts = partsOf(wheel);
  await step('Sources of the addon', unpackSources);
  await step('Addon', () => compile(parts, wheel.folder, mayInstall));
  writeFileSync(MANIFEST, `${JSON.stringify({ tensorflow: wheel.version, isGpu })}\n`);
  const name = isGpu ? 'tfjs-node-gpu' : 'tfjs-node';
  const { deviceName, speed } = await step('A product on it', () => smokeTest(name));
  process.stdout.write(
    `\n${name} works: TensorFlow ${wheel.version} on ${deviceName}, ${speed.gflops.toFixed(1)} GFLOP/s.\n` +
      `Use it with: npm run worker -- join <invite> --backend ${name}\n`,
  );
}
