/** @file Choosing suites by name and kind, and the counts that reach the last line. */
import { chooseSuites, runSuites } from '../../../scripts/lib/runSuites.mjs';
import { SUITES } from '../../../scripts/lib/suites.mjs';
import type { Suite } from '../../../scripts/lib/suites.mjs';

const suite = (name: string, run: Suite['run']): Suite => ({
  name,
  kind: 'logic',
  limitMs: 1000,
  run,
});

describe('choosing suites', () => {
  it('takes every suite of the kinds when none is named', () => {
    expect(chooseSuites([], ['static', 'logic', 'processes'])).toEqual(SUITES);
    expect(chooseSuites([], ['static']).map(({ name }) => name)).toContain('lint');
  });

  it('takes the named ones, whatever their kind', () => {
    expect(chooseSuites(['browser', 'unit'], ['static']).map(({ name }) => name)).toEqual([
      'unit',
      'browser',
    ]);
  });

  it('names an unknown suite and the known ones', () => {
    expect(() => chooseSuites(['unti'], [])).toThrow('no suite is called unti');
  });
});

describe('running suites', () => {
  let written: string[];
  beforeEach(() => {
    written = [];
    jest.spyOn(process.stdout, 'write').mockImplementation((text) => {
      written.push(String(text));
      return true;
    });
  });
  afterEach(() => jest.restoreAllMocks());

  const total = async (suites: Suite[]): Promise<[number, string | undefined]> => {
    const code = await runSuites(suites, { mayInstall: false, summaryFile: null });
    return [code, written.at(-1)];
  };

  it('sums the counts over all suites', async () => {
    const good = suite('a', () => Promise.resolve({ passed: 3, failed: 0 }));
    const other = suite('b', () => Promise.resolve({ passed: 4, failed: 0 }));
    expect(await total([good, other])).toEqual([0, '7 passed, 0 failed\n']);
  });

  it('counts a suite that throws as one failure and goes on', async () => {
    const bad = suite('a', () => Promise.reject(new Error('boom')));
    const good = suite('b', () => Promise.resolve({ passed: 1, failed: 0 }));
    expect(await total([bad, good])).toEqual([1, '1 passed, 1 failed\n']);
    expect(written.join('')).toContain('boom');
  });

  it('shows what was skipped', async () => {
    const some = suite('a', () =>
      Promise.resolve({ passed: 1, failed: 0, skipped: ['test_pager (no pager)'] }),
    );
    await total([some]);
    expect(written.join('')).toContain('skipped: test_pager (no pager)');
  });
});
