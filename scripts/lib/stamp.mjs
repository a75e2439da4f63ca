/** @file Skipping work whose inputs did not change: content hashes, never times. */
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, readdirSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { ROOT, STAMPS } from './paths.mjs';

const SKIPPED = new Set(['node_modules', 'dist', 'labextension', '.cache', '__pycache__']);

/** Every file under the given paths (files or folders, relative to the root), sorted. */
export function listFiles(paths) {
  const found = [];
  const visit = (path) => {
    const full = join(ROOT, path);
    if (!existsSync(full)) return;
    if (!statSync(full).isDirectory()) {
      found.push(path);
      return;
    }
    for (const name of readdirSync(full)) {
      if (!SKIPPED.has(name) && !name.endsWith('.tsbuildinfo')) visit(`${path}/${name}`);
    }
  };
  paths.forEach(visit);
  return found.sort();
}

/**
 * SHA-256 over names and contents of all files under `paths`, and over `extra`.
 * A missing path adds its absence, so creating it later changes the hash.
 */
export function hashInputs(paths, extra = '') {
  const hash = createHash('sha256').update(extra);
  for (const path of listFiles(paths)) {
    hash.update(`\0${path}\0`).update(readFileSync(join(ROOT, path)));
  }
  return hash.digest('hex');
}

const stampFile = (name) => join(STAMPS, name);

/**
 * True when `name` was last recorded with these inputs and its outputs are as it left them.
 * Outputs are compared too, because other tools (`tsc -b` by hand) write the same files.
 */
export function isFresh(name, inputs, outputs) {
  if (!outputs.every((path) => existsSync(join(ROOT, path)))) return false;
  if (!existsSync(stampFile(name))) return false;
  return readFileSync(stampFile(name), 'utf8') === `${inputs} ${hashInputs(outputs)}`;
}

/** Records that `outputs` were made from `inputs`. */
export function recordStamp(name, inputs, outputs) {
  mkdirSync(STAMPS, { recursive: true });
  writeFileSync(stampFile(name), `${inputs} ${hashInputs(outputs)}`);
}
