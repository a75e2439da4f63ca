/** @file Module hooks that run our TypeScript sources as they are; for benches and the simulator only. */
import { existsSync, readFileSync } from 'node:fs';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { transformSync } from '@swc/core';
import { fromRoot } from './paths.mjs';

/** Our packages by name: the sources, so that one module has one identity however it is imported. */
const PACKAGES = {
  '@ravenlab/protocol': fromRoot('protocol/src/index.ts'),
  '@ravenlab/protocol/limits': fromRoot('protocol/src/limits.ts'),
  '@ravenlab/contracts': fromRoot('contracts/src/index.ts'),
  ravenlab: fromRoot('kernel/src/api/index.ts'),
};

/** './x.js' as NodeNext demands it means './x.ts' on disk. */
export async function resolve(specifier, context, next) {
  const own = PACKAGES[specifier];
  if (own !== undefined) return { url: pathToFileURL(own).href, shortCircuit: true };
  if (specifier.startsWith('.') && specifier.endsWith('.js')) {
    const source = new URL(specifier.replace(/\.js$/, '.ts'), context.parentURL);
    if (source.protocol === 'file:' && existsSync(source)) {
      return { url: source.href, shortCircuit: true };
    }
  }
  return next(specifier, context);
}

export async function load(url, context, next) {
  if (!url.startsWith('file:') || !url.endsWith('.ts')) return next(url, context);
  const filename = fileURLToPath(url);
  const { code } = transformSync(readFileSync(filename, 'utf8'), {
    filename,
    sourceMaps: 'inline',
    module: { type: 'es6' },
    jsc: { target: 'es2022', parser: { syntax: 'typescript' } },
    swcrc: false,
  });
  return { format: 'module', source: code, shortCircuit: true };
}
