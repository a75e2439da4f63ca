/** @file Lint rules: strict types everywhere, purity bans in core folders, and size limits. */
import tseslint from 'typescript-eslint';
import { PURITY_BANS, ravenlabRules } from './scripts/lint/rules.mjs';

const SOURCES = ['**/*.ts', '**/*.tsx'];
const PURE = ['protocol/src/**/*.ts', 'kernel/src/core/**/*.ts', 'worker/src/core/**/*.ts'];

export default tseslint.config(
  {
    ignores: [
      '**/node_modules/**',
      '**/dist/**',
      'extension/lib/**',
      'extension/labextension/**',
      '.cache/**',
      '.venv/**',
      'kernel/src/engine/wasm/assembly/**',
      'notebooks/**',
    ],
  },
  { linterOptions: { reportUnusedDisableDirectives: 'error' } },
  {
    files: SOURCES,
    extends: [tseslint.configs.strictTypeChecked, tseslint.configs.stylisticTypeChecked],
    plugins: { ravenlab: ravenlabRules },
    languageOptions: {
      parserOptions: { projectService: true, tsconfigRootDir: import.meta.dirname },
    },
    rules: {
      'ravenlab/file-header': 'error',
      'ravenlab/todo-needs-issue': 'error',
      'max-lines': ['error', { max: 500, skipBlankLines: true, skipComments: true }],
      'max-lines-per-function': ['error', { max: 70, skipBlankLines: true, skipComments: true }],
      'no-console': 'error',
      eqeqeq: 'error',
      // A `default` is a decision too, where the union is someone else's (a syntax tree).
      '@typescript-eslint/switch-exhaustiveness-check': [
        'error',
        { considerDefaultExhaustiveForUnions: true },
      ],
      // Its advice is `!`, which another rule forbids.
      '@typescript-eslint/non-nullable-type-assertion-style': 'off',
      '@typescript-eslint/consistent-type-imports': 'error',
      '@typescript-eslint/consistent-type-exports': 'error',
      '@typescript-eslint/no-unused-vars': [
        'error',
        { argsIgnorePattern: '^_', varsIgnorePattern: '^_', caughtErrors: 'all' },
      ],
      // `${count} rows` is how numbers are printed; objects in templates stay errors.
      '@typescript-eslint/restrict-template-expressions': [
        'error',
        { allowNumber: true, allowBoolean: true },
      ],
      // `() => queue.clear()` and `return this.close()` are clearer than a block with two statements.
      '@typescript-eslint/no-confusing-void-expression': [
        'error',
        { ignoreArrowShorthand: true, ignoreVoidReturningFunctions: true },
      ],
      '@typescript-eslint/prefer-nullish-coalescing': ['error', { ignorePrimitives: true }],
      'no-restricted-exports': [
        'error',
        { restrictDefaultExports: { direct: true, named: true, defaultFrom: true } },
      ],
    },
  },
  { files: PURE, rules: { 'no-restricted-syntax': ['error', ...PURITY_BANS] } },
  {
    // JupyterLab finds a plugin by the default export of its entry file.
    files: ['extension/src/index.ts', '**/*.config.ts'],
    rules: { 'no-restricted-exports': 'off' },
  },
  {
    files: ['test/**/*.ts', 'bench/**/*.ts'],
    rules: {
      'max-lines-per-function': 'off',
      'no-console': 'off',
      '@typescript-eslint/no-non-null-assertion': 'off',
      '@typescript-eslint/unbound-method': 'off',
    },
  },
  {
    // Command-line programs print: that is what they are for.
    files: ['worker/src/cli.ts', 'kernel/src/main.ts'],
    rules: { 'no-console': 'off' },
  },
  {
    files: ['**/*.js', '**/*.mjs', '**/*.cjs'],
    plugins: { ravenlab: ravenlabRules },
    rules: {
      'ravenlab/file-header': 'error',
      'ravenlab/todo-needs-issue': 'error',
      'max-lines': ['error', { max: 500, skipBlankLines: true, skipComments: true }],
      'max-lines-per-function': ['error', { max: 70, skipBlankLines: true, skipComments: true }],
      'no-unused-vars': ['error', { argsIgnorePattern: '^_' }],
      'no-undef': 'off',
      eqeqeq: 'error',
      'prefer-const': 'error',
    },
  },
);
