/** @file `npm run bench -- name…`: runs bench/<name>.bench.ts, each against a baseline in the same run. */
import { spawn } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { cleanEnv } from './lib/exec.mjs';
import { Failure, runMain } from './lib/failure.mjs';
import { fromRoot } from './lib/paths.mjs';
import { typeScriptArgs } from './lib/typescript.mjs';
import { setUpSources } from './lib/setup.mjs';

const SUFFIX = '.bench.ts';

const benches = () =>
  readdirSync(fromRoot('bench'))
    .filter((name) => name.endsWith(SUFFIX))
    .map((name) => name.slice(0, -SUFFIX.length))
    .sort();

/**
 * As `npm run sim` has it: a schedule leaves a megabyte of garbage and nothing else, so the rarer it is collected, the less
 * of it is looked at. MiB.
 */
const NODE_FLAGS = { sim: ['--min-semi-space-size=64', '--max-semi-space-size=64'] };

/** A bench inherits the terminal: its table is for people, its last line (JSON) for programs. */
const runBench = (name, options) =>
  new Promise((resolve, reject) => {
    const program = typeScriptArgs(fromRoot('bench', `${name}${SUFFIX}`));
    const args = [...(NODE_FLAGS[name] ?? []), ...program, ...options];
    // Engines that are measured do nothing beside.
    // What they measure here alone has the pages that an engine gives its workers (protocol/src/largePages.ts).
    const env = {
      RAVENLAB_CHAIN: 'off',
      GLIBC_TUNABLES: 'glibc.malloc.hugetlb=1',
      ORT_DISABLE_TELEMETRY: '1',
      ...cleanEnv(),
    };
    const child = spawn(process.execPath, args, { stdio: 'inherit', env });
    child.once('error', reject);
    child.once('exit', (code) => resolve(code ?? 1));
  });

await runMain(async () => {
  const words = process.argv.slice(2);
  const names = words.filter((word) => !word.startsWith('-'));
  const options = words.filter((word) => word.startsWith('-'));
  const known = benches();
  const unknown = names.filter((name) => !known.includes(name));
  if (unknown.length > 0 || names.length === 0) {
    throw new Failure(
      names.length === 0 ? 'which bench?' : `no bench is called ${unknown.join(', ')}`,
      {
        todo: `npm run bench -- <name>, one or more of: ${known.join(', ') || '(none in this checkout)'}`,
      },
    );
  }
  await setUpSources(['typescript', 'wasm']);
  let code = 0;
  for (const name of names) code ||= await runBench(name, options);
  return code;
});
