/**
 * @file Who may import whom, as rules; the table with its reasons is in docs/ARCHITECTURE.md.
 *
 * The compiler is the first fence (each core/ is its own project without Node types); these rules catch
 * what it cannot: npm packages in a pure folder, cycles, and one process reaching into another.
 */

const OWN = '^(protocol|kernel|worker|extension|bench|test|scripts)/';
const PURE = '^(protocol/src|kernel/src/core|worker/src/core)/';

/** [name, importer, forbidden target, reason] */
const FORBIDDEN = [
  [
    'protocol-is-the-leaf',
    '^protocol/src/',
    { path: OWN, pathNot: '^protocol/src/' },
    'protocol imports nothing of ours',
  ],
  [
    'kernel-core-is-pure',
    '^kernel/src/core/',
    { path: OWN, pathNot: '^(kernel/src/core|protocol/src)/' },
    'core imports only protocol',
  ],
  [
    'worker-core-is-pure',
    '^worker/src/core/',
    { path: OWN, pathNot: '^(worker/src/core|protocol/src)/' },
    'core imports only protocol',
  ],
  [
    'pure-folders-have-no-builtins',
    PURE,
    { dependencyTypes: ['core'] },
    'no I/O, no clock, no randomness in a pure folder',
  ],
  [
    'core-has-no-npm',
    '^(kernel|worker)/src/core/',
    {
      dependencyTypes: ['npm', 'npm-dev', 'npm-optional', 'npm-peer', 'npm-no-pkg', 'npm-unknown'],
      pathNot: '^protocol/',
    },
    'core takes data in and gives data out',
  ],
  [
    'api-sees-no-io',
    '^kernel/src/api/',
    { path: OWN, pathNot: '^(kernel/src/(api|core)|protocol/src)/' },
    'api reaches the engine through the injected Session',
  ],
  [
    'api-has-no-builtins',
    '^kernel/src/api/',
    { dependencyTypes: ['core'] },
    'api runs wherever a cell runs',
  ],
  [
    'jupyter-does-not-run-cells',
    '^kernel/src/jupyter/',
    { path: '^kernel/src/(api|core)/' },
    'the protocol side never touches tensors',
  ],
  [
    'engine-is-its-own-process',
    '^kernel/src/engine/',
    { path: '^kernel/src/(jupyter|session|api)/' },
    'the engine outlives the kernel',
  ],
  [
    'worker-never-imports-kernel',
    '^worker/src/',
    { path: '^(kernel|extension)/' },
    'a worker knows the protocol only',
  ],
  [
    'kernel-never-imports-worker',
    '^kernel/src/',
    { path: '^(worker|extension)/' },
    'workers are processes, not modules',
  ],
  [
    'extension-sees-protocol-only',
    '^extension/src/',
    { path: OWN, pathNot: '^(extension|protocol/src)/' },
    'the panel talks over a comm',
  ],
  [
    'extension-has-no-builtins',
    '^extension/src/',
    { dependencyTypes: ['core'] },
    'the panel runs in a browser',
  ],
  [
    'sim-is-pure',
    '^test/sim/',
    { path: '^kernel/src/(jupyter|session|engine|api)/|^worker/src/(?!core/)' },
    'the simulator runs cores, not shells',
  ],
  [
    'nothing-imports-tests',
    '^(protocol|kernel|worker|extension)/',
    { path: '^(test|bench|scripts)/' },
    'shipped code stands alone',
  ],
];

module.exports = {
  forbidden: [
    {
      name: 'no-cycles',
      comment: 'a cycle hides which of two modules owns a decision',
      severity: 'error',
      from: { path: OWN },
      to: { circular: true, viaOnly: { dependencyTypesNot: ['type-only'] } },
    },
    {
      name: 'no-unresolvable',
      comment: 'an import that resolves nowhere is a typo or a missing dependency',
      severity: 'error',
      from: { path: OWN },
      to: { couldNotResolve: true },
    },
    {
      name: 'no-undeclared-npm',
      comment: 'a package is declared by the workspace that imports it',
      severity: 'error',
      from: { path: '^(protocol|kernel|worker|extension)/src/' },
      to: { dependencyTypes: ['npm-no-pkg', 'npm-unknown'] },
    },
    ...FORBIDDEN.map(([name, from, to, comment]) => ({
      name,
      comment,
      severity: 'error',
      from: { path: from },
      to,
    })),
  ],
  options: {
    doNotFollow: { path: 'node_modules' },
    exclude: { path: '(^|/)(dist|lib/tsconfig|labextension|\\.cache|\\.venv)/' },
    tsPreCompilationDeps: true,
    combinedDependencies: false,
    tsConfig: { fileName: 'tsconfig.layers.json' },
    enhancedResolveOptions: {
      extensions: ['.ts', '.tsx', '.js', '.mjs', '.cjs', '.json'],
      exportsFields: ['exports'],
      conditionNames: ['import', 'require', 'node', 'default', 'types'],
    },
    cache: { folder: '.cache/depcruise', strategy: 'content' },
  },
};
