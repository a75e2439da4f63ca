/** @file The layer check: first that every rule catches its canary, then that the tree breaks none. */
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { Failure, runMain } from '../lib/failure.mjs';
import { CACHE, ROOT, fromRoot } from '../lib/paths.mjs';
import { LAYER_RULES } from './layerRules.cjs';

const TREE = ['protocol', 'contracts', 'kernel', 'worker', 'extension', 'bench', 'test'];
const CONFIG = fromRoot('.dependency-cruiser.cjs');
const CANARIES = join(CACHE, 'layers');
const OUTPUT_LIMIT_BYTES = 256 * 1024 * 1024;

/** @typedef {{ from: string, to: string, rule: { name: string } }} Violation */

/** @returns {Violation[]} every broken rule of the folders under `cwd` */
function cruise(cwd, folders) {
  const program = fromRoot('node_modules/dependency-cruiser/bin/dependency-cruise.mjs');
  const args = [program, '--config', CONFIG, '--output-type', 'json', ...folders];
  const options = { cwd, maxBuffer: OUTPUT_LIMIT_BYTES, encoding: /** @type {const} */ ('utf8') };
  return JSON.parse(execFileSync(process.execPath, args, options)).summary.violations;
}

/** A tree that breaks each rule once: the importing files, and a file at every specifier's end. */
function plantCanaries() {
  rmSync(CANARIES, { recursive: true, force: true });
  const files = new Map();
  const add = (path, line) => files.set(path, `${files.get(path) ?? ''}${line}\n`);
  for (const { name, canary } of LAYER_RULES) {
    const [file, specifier] = canary;
    add(file, `import '${specifier}';`);
    if (!specifier.startsWith('.') || name === 'no-unresolvable') continue;
    const target = join(dirname(file), specifier).replace(/\.js$/, '.ts');
    add(target, name === 'no-cycles' ? "import './first.js';" : 'export {};');
  }
  for (const [path, text] of files) {
    mkdirSync(join(CANARIES, dirname(path)), { recursive: true });
    writeFileSync(join(CANARIES, path), text);
  }
  const manifest = { private: true, devDependencies: { typescript: '*' } };
  writeFileSync(join(CANARIES, 'package.json'), JSON.stringify(manifest));
}

await runMain(async () => {
  plantCanaries();
  const folders = TREE.filter((name) => existsSync(join(CANARIES, name)));
  const caught = cruise(CANARIES, folders);
  const bites = ({ name, canary }) =>
    caught.some(({ rule, from }) => rule.name === name && from === canary[0]);
  const silent = LAYER_RULES.filter((rule) => !bites(rule)).map((rule) => rule.name);
  if (silent.length > 0) {
    throw new Failure(`these layer rules miss the import they exist for: ${silent.join(', ')}`, {
      todo: 'mend their patterns in scripts/lint/layerRules.cjs',
    });
  }
  const violations = cruise(ROOT, TREE);
  const comments = new Map(LAYER_RULES.map((rule) => [rule.name, rule.comment]));
  for (const { from, to, rule } of violations) {
    process.stdout.write(`${rule.name}: ${from} → ${to} (${comments.get(rule.name)})\n`);
  }
  process.stdout.write(`${LAYER_RULES.length} rules, ${violations.length} violations\n`);
  return violations.length === 0 ? 0 : 1;
});
