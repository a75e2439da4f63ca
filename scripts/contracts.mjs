/** @file `npm run contracts`: compiles the escrow into contracts/abi; with `-- --check`, only tells what is stale. */
import { existsSync, mkdirSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { Failure, runMain } from './lib/failure.mjs';
import { fromRoot } from './lib/paths.mjs';
import { compileContracts } from './lib/solidity.mjs';

const ABI = fromRoot('contracts', 'abi');

/** Paths below contracts/abi that differ from what the sources compile to, with the reason. */
function findStale(artifacts) {
  const stale = [];
  for (const [path, contents] of artifacts) {
    const file = join(ABI, path);
    if (!existsSync(file)) stale.push([path, 'missing']);
    else if (readFileSync(file, 'utf8') !== contents) stale.push([path, 'out of date']);
  }
  const present = existsSync(ABI)
    ? readdirSync(ABI, { recursive: true, encoding: 'utf8' }).filter((path) =>
        path.endsWith('.json'),
      )
    : [];
  for (const path of present.map((each) => each.replaceAll('\\', '/'))) {
    if (!artifacts.has(path)) stale.push([path, 'without a source']);
  }
  return stale;
}

function write(artifacts, stale) {
  for (const [path] of stale) {
    const file = join(ABI, path);
    const contents = artifacts.get(path);
    if (contents === undefined) {
      rmSync(file);
      continue;
    }
    mkdirSync(dirname(file), { recursive: true });
    writeFileSync(file, contents);
  }
}

await runMain(async () => {
  const isCheck = process.argv.includes('--check');
  const artifacts = compileContracts();
  const stale = findStale(artifacts);
  if (stale.length > 0 && isCheck) {
    throw new Failure('contracts/abi is not what contracts/solidity compiles to', {
      detail: stale.map(([path, why]) => `${path}: ${why}`).join('\n'),
      todo: 'run `npm run contracts` and commit contracts/abi',
    });
  }
  write(artifacts, stale);
  const what = stale.length === 0 ? 'unchanged' : `${stale.length} written`;
  process.stdout.write(`${artifacts.size} contracts, ${what}\n`);
});
