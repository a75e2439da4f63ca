/** @file How a TypeScript program of ours is started without building it first. */
import { pathToFileURL } from 'node:url';
import { fromRoot } from './paths.mjs';

/**
 * Arguments for `node` that run a `.ts` file with its imports.
 * @param {string} file absolute path
 */
export const typeScriptArgs = (file) => [
  '--enable-source-maps',
  '--import',
  pathToFileURL(fromRoot('scripts/lib/runTypeScript.mjs')).href,
  file,
];
