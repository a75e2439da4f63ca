/** @file What counts as changed: contents and names, never times. */
import { mkdirSync, mkdtempSync, rmSync, utimesSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, relative } from 'node:path';
import { ROOT } from '../../../scripts/lib/paths.mjs';
import { hashInputs, listFiles } from '../../../scripts/lib/stamp.mjs';

describe('hashing inputs', () => {
  let folder: string;
  let path: string;

  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'ravenlab-stamp-'));
    path = relative(ROOT, folder);
    writeFileSync(join(folder, 'a.ts'), 'one');
  });
  afterEach(() => rmSync(folder, { recursive: true }));

  it('ignores times', () => {
    const before = hashInputs([path]);
    utimesSync(join(folder, 'a.ts'), 1, 1);
    expect(hashInputs([path])).toBe(before);
  });

  it('sees a changed byte, a new file, a renamed file and other extra words', () => {
    const seen = new Set([hashInputs([path]), hashInputs([path], 'other compiler')]);
    writeFileSync(join(folder, 'a.ts'), 'two');
    seen.add(hashInputs([path]));
    writeFileSync(join(folder, 'b.ts'), '');
    seen.add(hashInputs([path]));
    rmSync(join(folder, 'b.ts'));
    writeFileSync(join(folder, 'c.ts'), '');
    seen.add(hashInputs([path]));
    expect(seen.size).toBe(5);
  });

  it('leaves out what a build writes', () => {
    mkdirSync(join(folder, 'dist'));
    writeFileSync(join(folder, 'dist', 'a.js'), '');
    writeFileSync(join(folder, '.tsbuildinfo'), '');
    expect(listFiles([path])).toEqual([`${path}/a.ts`]);
  });

  it('does not fail on a folder that is not there', () => {
    expect(listFiles([`${path}/missing`])).toEqual([]);
  });
});
