/**
 * @file The exact tier gives the same bits wherever it runs: here, and in other versions of Node. The browser's turn is
 * test/browser/exact.test.ts.
 *
 * @jest-environment ./test/support/nativeArrays.ts
 */
import { execFile } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { promisify } from 'node:util';
import { open } from './lib/backends.js';
import { EXACT_BITS, exactCases } from './lib/exactCases.js';
import { trainExactly } from './lib/exactRun.js';

const ROOT = resolve(__dirname, '..', '..');
const LIMIT_MS = 60_000;

/** Programs of other Node versions, from `npm test`. */
const NODES = (process.env['RAVENLAB_NODES'] ?? '').split('\n').filter((path) => path !== '');
const MISSING = process.env['RAVENLAB_NODES_MISSING'] ?? 'only `npm test conformance` brings them';

async function hashesOf(node: string): Promise<unknown> {
  const hooks = resolve(ROOT, 'scripts', 'lib', 'runTypeScript.mjs');
  const cli = resolve(ROOT, 'test', 'conformance', 'lib', 'exactCli.ts');
  const run = promisify(execFile)(node, ['--import', hooks, cli], { timeout: LIMIT_MS });
  run.child.stdin?.end(JSON.stringify(exactCases()));
  const { stdout } = await run;
  return JSON.parse(stdout);
}

test(
  'the weights after 50 steps are the committed bits',
  async () => {
    expect(await trainExactly(exactCases())).toEqual(EXACT_BITS);
  },
  LIMIT_MS,
);

test('the version that is part of the bit class is that of the package', async () => {
  const manifest = resolve(ROOT, 'node_modules', 'onnxruntime-web', 'package.json');
  const { version } = JSON.parse(readFileSync(manifest, 'utf8')) as { readonly version: string };
  const backend = await open('onnx-wasm');
  expect(backend.version).toBe(`onnxruntime-web ${version}`);
  backend.dispose();
});

if (NODES.length > 0) {
  test.each(NODES)(
    'they are the same bits in %s',
    async (node) => {
      expect(await hashesOf(node)).toEqual(EXACT_BITS);
    },
    LIMIT_MS,
  );
}
if (MISSING !== '')
  test.skip(`they are the same bits in other versions of Node (${MISSING})`, () => undefined);
