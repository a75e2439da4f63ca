/**
 * @file One jest project per test folder; what each folder may touch is its own contract.
 *
 * Sources are compiled to CommonJS by swc, so `jest.mock`-free tests start fast; types are checked by
 * `tsc -b`, never here. Suites that spawn real processes use the built `dist` and run two at a time, or alone
 * where they measure time (scripts/lib/suites.mjs).
 */

// For the processes that run tests, which compute in themselves; what tests start has to say so itself.
process.env['ORT_DISABLE_TELEMETRY'] = '1';

const compiler = {
  '^.+\\.(tsx?|mjs)$': [
    '@swc/jest',
    {
      jsc: {
        target: 'es2022',
        parser: { syntax: 'typescript', tsx: false },
        transform: { react: { runtime: 'automatic' } },
      },
      module: { type: 'commonjs' },
      sourceMaps: 'inline',
    },
  ],
};

const moduleNameMapper = {
  '^@ravenlab/protocol$': '<rootDir>/protocol/src/index.ts',
  '^@ravenlab/protocol/limits$': '<rootDir>/protocol/src/limits.ts',
  '^@ravenlab/contracts$': '<rootDir>/contracts/src/index.ts',
  '^ravenlab$': '<rootDir>/kernel/src/api/index.ts',
  '^onnxruntime-web/ort-wasm-simd-threaded\\.mjs$': '<rootDir>/test/support/ortWasmModule.ts',
  // Sources import './x.js' as NodeNext demands; the file on disk is './x.ts'.
  '^(\\.{1,2}/.*)\\.js$': '$1',
};

/** Folders under test/; every `*.test.ts` inside belongs to the project of that name. */
const LOGIC = ['unit', 'property', 'scenario', 'sim'];
const PROCESSES = ['conformance', 'contracts', 'integration', 'browser'];

const project = (name, extra = {}) => ({
  displayName: name,
  rootDir: import.meta.dirname,
  roots: ['<rootDir>/test'],
  testMatch: [`<rootDir>/test/${name}/**/*.test.ts`],
  testEnvironment: 'node',
  transform: compiler,
  moduleNameMapper,
  modulePathIgnorePatterns: [
    '<rootDir>/.cache',
    '<rootDir>/.venv',
    '<rootDir>/extension/labextension',
  ],
  cacheDirectory: '<rootDir>/.cache/jest',
  ...extra,
});

export default {
  projects: [
    ...LOGIC.map((name) => project(name)),
    ...PROCESSES.map((name) =>
      project(name, { setupFilesAfterEnv: ['<rootDir>/test/processSetup.ts'] }),
    ),
  ],
};
