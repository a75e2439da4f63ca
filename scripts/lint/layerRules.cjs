/**
 * @file Who may import whom, one row per rule; the table with its reasons is in docs/ARCHITECTURE.md.
 *
 * `from` and `to` are dependency-cruiser conditions. `canary` is an import that the rule must catch
 * ([importing file, specifier]): `layers.mjs` plants them all and fails when one goes unnoticed, so a
 * rule whose pattern has rotted cannot pass for a clean tree.
 */

const OWN = '^(protocol|contracts|kernel|worker|extension|bench|test|scripts)/';
const PURE = '^(protocol/src|kernel/src/core|worker/src/core)/';
const SHIPPED = '^(protocol|contracts|kernel|worker|extension)/';
const NPM_KINDS = ['npm', 'npm-dev', 'npm-optional', 'npm-peer', 'npm-no-pkg', 'npm-unknown'];
const BUILTIN = { dependencyTypes: ['core'] };

/** Everything of ours but the folders matched by `allowed`. */
const allBut = (allowed) => ({ path: OWN, pathNot: allowed });

exports.LAYER_RULES = [
  {
    name: 'no-cycles',
    comment: 'a cycle hides which of two modules owns a decision',
    from: { path: OWN },
    to: { circular: true, viaOnly: { dependencyTypesNot: ['type-only'] } },
    canary: ['worker/src/net/first.ts', './second.js'],
  },
  {
    name: 'no-unresolvable',
    comment: 'an import that resolves nowhere is a typo or a missing dependency',
    from: { path: OWN },
    to: { couldNotResolve: true },
    canary: ['worker/src/net/a.ts', './nowhere.js'],
  },
  {
    name: 'no-undeclared-npm',
    comment: 'a package is declared by the workspace that imports it',
    from: { path: SHIPPED },
    to: { dependencyTypes: ['npm-no-pkg', 'npm-unknown'] },
    canary: ['worker/src/net/a.ts', 'prettier'],
  },
  {
    name: 'protocol-is-the-leaf',
    comment: 'protocol imports nothing of ours',
    from: { path: '^protocol/src/' },
    to: allBut('^protocol/src/'),
    canary: ['protocol/src/a.ts', '../../worker/src/net/target.js'],
  },
  {
    name: 'contracts-know-the-protocol-only',
    comment: 'kernel and worker meet at the contract; it knows neither',
    from: { path: '^contracts/src/' },
    to: allBut('^(contracts|protocol/src)/'),
    canary: ['contracts/src/a.ts', '../../kernel/src/engine/target.js'],
  },
  {
    name: 'core-is-pure',
    comment: 'core imports its own core and protocol, nothing else of ours',
    from: { path: '^(kernel|worker)/src/core/' },
    to: allBut('^($1/src/core|protocol/src)/'),
    canary: ['kernel/src/core/a.ts', '../engine/target.js'],
  },
  {
    name: 'pure-folders-have-no-builtins',
    comment: 'no I/O, no clock, no randomness in a pure folder',
    from: { path: PURE },
    to: BUILTIN,
    canary: ['protocol/src/a.ts', 'node:fs'],
  },
  {
    name: 'core-has-no-npm',
    comment: 'core takes data in and gives data out',
    from: { path: '^(kernel|worker)/src/core/' },
    to: { dependencyTypes: NPM_KINDS, pathNot: '^protocol/' },
    canary: ['worker/src/core/a.ts', 'typescript'],
  },
  {
    name: 'api-sees-no-io',
    comment: 'api reaches the engine through the injected Session',
    from: { path: '^kernel/src/api/' },
    to: allBut('^(kernel/src/(api|core)|protocol/src)/'),
    canary: ['kernel/src/api/a.ts', '../session/target.js'],
  },
  {
    name: 'jupyter-knows-no-tensors',
    comment: 'the protocol side never touches tensors',
    from: { path: '^kernel/src/jupyter/' },
    to: { path: '^kernel/src/(api|core)/' },
    canary: ['kernel/src/jupyter/a.ts', '../core/target.js'],
  },
  {
    name: 'engine-is-its-own-process',
    comment: 'the engine outlives the kernel',
    from: { path: '^kernel/src/engine/' },
    to: { path: '^kernel/src/(jupyter|session|api)/' },
    canary: ['kernel/src/engine/a.ts', '../jupyter/target.js'],
  },
  {
    name: 'keys-stay-off-the-loop',
    comment: 'signing takes milliseconds: only the chain thread loads what can sign',
    from: { path: '^kernel/src/', pathNot: '^kernel/src/(engine/chain|chainCli)/' },
    to: { path: '^contracts/', dependencyTypesNot: ['type-only'] },
    canary: ['kernel/src/engine/a.ts', '../../../contracts/src/target.js'],
  },
  {
    name: 'kernel-and-worker-are-strangers',
    comment: 'a worker knows the protocol only, and workers are processes, not modules',
    from: { path: '^(kernel|worker)/src/' },
    to: { path: '^(kernel|worker|extension)/', pathNot: '^$1/' },
    canary: ['worker/src/net/a.ts', '../../../kernel/src/engine/target.js'],
  },
  {
    name: 'extension-sees-protocol-only',
    comment: 'the panel talks over a comm',
    from: { path: '^extension/src/' },
    to: allBut('^(extension|protocol/src)/'),
    canary: ['extension/src/a.ts', '../../kernel/src/engine/target.js'],
  },
  {
    name: 'extension-has-no-builtins',
    comment: 'the panel runs in a browser',
    from: { path: '^extension/src/' },
    to: BUILTIN,
    canary: ['extension/src/a.ts', 'node:path'],
  },
  {
    name: 'sim-runs-cores-only',
    comment: 'the simulator is deterministic because nothing in it waits',
    from: { path: '^test/sim/' },
    to: { path: '^kernel/src/(jupyter|session|engine|api)/|^worker/src/(?!core/)' },
    canary: ['test/sim/a.ts', '../../worker/src/net/target.js'],
  },
  {
    name: 'nothing-shipped-imports-tests',
    comment: 'shipped code stands alone',
    from: { path: SHIPPED },
    to: { path: '^(test|bench|scripts)/' },
    canary: ['kernel/src/engine/a.ts', '../../../bench/target.js'],
  },
];
