/** @file The lint rules of our own, and the bans of pure folders: each must catch what it names. */
import { Linter } from 'eslint';
import { PURITY_BANS, ravenlabRules } from '../../../scripts/lint/rules.mjs';

const messages = (code: string, rule: string, setting: Linter.RuleEntry): string[] =>
  new Linter()
    .verify(code, [{ plugins: { ravenlab: ravenlabRules }, rules: { [rule]: setting } }])
    .map((found) => found.message);

describe('file-header', () => {
  const check = (code: string): string[] => messages(code, 'ravenlab/file-header', 'error');

  it.each(['/** @file What it is. */\nx;', '/**\n * @file What it is,\n * at length.\n */'])(
    'accepts %j',
    (code) => {
      expect(check(code)).toEqual([]);
    },
  );

  it.each([
    'x;',
    '// @file What it is.\n',
    '/** What it is. */',
    '/** @file */',
    '/* @file Not JSDoc. */',
  ])('refuses %j', (code) => {
    expect(check(code)).toHaveLength(1);
  });
});

describe('todo-needs-issue', () => {
  const check = (code: string): string[] => messages(code, 'ravenlab/todo-needs-issue', 'error');

  it('accepts work that has an issue', () => {
    expect(check('// TODO (#12): later\n/* FIXME(#3) */')).toEqual([]);
  });

  it.each(['// TODO later', '/* FIXME: now */', '// TODO (12)'])('refuses %j', (code) => {
    expect(check(code)).toEqual([expect.stringContaining('with the number of its issue')]);
  });
});

describe('the bans of pure folders', () => {
  const check = (code: string): string[] =>
    messages(code, 'no-restricted-syntax', ['error', ...PURITY_BANS]);

  it.each([
    'async function f() {}',
    'const f = async () => 1;',
    'Promise.resolve(1);',
    "import('./late.js');",
    'Date.now();',
    'new Date();',
    'Math.random();',
    'new WeakRef({});',
    "'a'.localeCompare('b');",
    '(1).toLocaleString();',
    'new Intl.NumberFormat();',
  ])('catch %s', (code) => {
    expect(check(code).length).toBeGreaterThan(0);
  });

  it('leave ordinary arithmetic alone', () => {
    expect(check('export const f = (now) => Math.max(now, 1).toString();')).toEqual([]);
  });
});
