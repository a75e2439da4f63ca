/**
 * @file `npm run backends`: writes docs/backends.md from the tables of the worker and from what its rows really call for
 * the cases of the conformance suite. With `--check` it writes nothing and fails when the file is not what they say.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { pathToFileURL } from 'node:url';
import prettier from 'prettier';
import { fromRoot } from './lib/paths.mjs';

const FILE = 'docs/backends.md';

const load = (path) => import(pathToFileURL(fromRoot(path)).href);

const { BACKENDS, OP_NAMES, inferOp, sizeOf } = await load('protocol/src/index.ts');
const { FORWARD_CASES } = await load('test/conformance/lib/cases.ts');
const { TRIALS, allowedError } = await load('test/conformance/lib/support.ts');
const { BACKEND_TABLE, PREFERRED } = await load('worker/src/compute/backendTable.ts');
const { emitRow } = await load('worker/src/compute/onnx/emitTable.ts');
const { ModelBuilder } = await load('worker/src/compute/onnx/modelBuilder.ts');
const { tfRow } = await load('worker/src/compute/tfjs/tfTable.ts');
await import('@tensorflow/tfjs-backend-cpu');
const tf = await import('@tensorflow/tfjs-core');

/** Drawn on the host from the same generator everywhere, and fed like an input. */
const HOST_OPS = new Set(['randomUniform']);

/** Cases with elements: emptiness is settled before a row is asked. */
function casesOf(op) {
  return FORWARD_CASES[op].filter((one) => {
    const type = inferOp(op, one.inputs, one.params);
    return [type, ...one.inputs].every(({ shape }) => sizeOf(shape) > 0);
  });
}

/** ONNX operators that the cases of an op become. */
function onnxOperators(op) {
  const found = new Set();
  class Recorder extends ModelBuilder {
    multi(spec) {
      found.add(spec.op);
      return super.multi(spec);
    }
  }
  for (const { inputs, params } of casesOf(op)) {
    const graph = new Recorder();
    const operands = inputs.map((type, index) => graph.input(`i${index}`, type));
    emitRow(op)(operands, { graph, params, type: inferOp(op, inputs, params) });
  }
  return [...found].sort();
}

const valuesOf = ({ dtype, shape, values }) =>
  tf.tensor(values ?? new Array(sizeOf(shape)).fill(0.5), shape, dtype);

/** Kernels that tfjs runs for the cases of an op; views of the same memory are none. */
async function tfjsKernels(op) {
  const found = new Set();
  for (const { inputs, params } of casesOf(op)) {
    if (inputs.some(({ shape }) => sizeOf(shape) > 10_000)) continue;
    const type = inferOp(op, inputs, params);
    const operands = inputs.map(valuesOf);
    const { kernelNames } = await tf.profile(() => tfRow(op)(operands, { params, type }));
    for (const name of kernelNames) found.add(name);
    tf.disposeVariables();
  }
  for (const name of ['Identity', 'Reshape']) if (found.size > 1) found.delete(name);
  return [...found].sort();
}

function cellOf(backend, op) {
  if (!TRIALS[backend].isTried) return 'not run';
  const allowed = allowedError(backend, op);
  return allowed === 0 ? '✓' : `✓ 2^${Math.log2(allowed)}`;
}

const line = (cells) => `| ${cells.join(' | ')} |`;
const table = (header, rows) =>
  [line(header), line(header.map(() => '---')), ...rows.map(line)].join('\n');
const code = (names) => names.map((name) => `\`${name}\``).join(' ');

async function opRow(op) {
  if (HOST_OPS.has(op))
    return [`**${op}**`, 'an input', 'an input', ...BACKENDS.map((name) => cellOf(name, op))];
  const onnx = onnxOperators(op);
  const tfjs = await tfjsKernels(op);
  return [
    `**${op}**`,
    onnx.length === 0 ? 'the operand itself' : code(onnx),
    code(tfjs),
    ...BACKENDS.map((name) => cellOf(name, op)),
  ];
}

const opRows = [];
for (const op of OP_NAMES) opRows.push(await opRow(op));
const empty = opRows.filter((row) => row.some((cell) => cell === ''));
if (empty.length > 0)
  throw new Error(`no cell may be empty: ${empty.map(([op]) => op).join(', ')}`);

const backendRows = PREFERRED.map((name) => {
  const { isAccelerator, remedy } = BACKEND_TABLE[name];
  return [`**${name}**`, isAccelerator ? 'a device' : 'the processor', TRIALS[name].where, remedy];
});

const text = [
  '# Backends and ops',
  'Written by `npm run backends` from the tables of the worker; `npm run check` fails when this file is stale. What works on ' +
    'a machine, and how fast, says `npm run worker -- doctor`.',
  '## Backends',
  'In the order in which `--backend auto` tries them. It passes over software stand-ins for a device.',
  table(['backend', 'computes on', 'conformance suite', 'to make it available'], backendRows),
  '## Ops',
  '✓ is: within 1e-4 of the float64 oracle, forward and through autograd, all cases of the suite, where it runs on that ' +
    'backend (table above); ✓ 2^-11: right to 2^-11, which is what WGSL promises. Not run: the row exists, and nobody has ' +
    'run it. All onnx backends share one emission, all tfjs backends one table of rows; WebGPU replaces what its kernels ' +
    'cannot do, or do in another order every time, by other kernels (`worker/src/compute/tfjs/tfKernels.ts`, `tfScatter.ts`), and its integers are exact to 2^24.',
  table(['op', 'ONNX operators', 'tfjs kernels', ...BACKENDS], opRows),
].join('\n\n');
const options = await prettier.resolveConfig(fromRoot(FILE));
const written = await prettier.format(text, { ...options, parser: 'markdown' });

if (process.argv.includes('--check')) {
  let committed = '';
  try {
    committed = readFileSync(fromRoot(FILE), 'utf8');
  } catch {
    // Not there: stale.
  }
  if (committed !== written) {
    console.error(`${FILE} is not what the tables say: npm run backends, and commit it`);
    process.exitCode = 1;
  }
} else {
  writeFileSync(fromRoot(FILE), written);
}
