/** @file Compiles contracts/solidity with the solc of npm: what is committed in contracts/abi comes from here. */
import { readFileSync, readdirSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import solc from 'solc';
import { Failure } from './failure.mjs';
import { fromRoot } from './paths.mjs';

const SOURCES = fromRoot('contracts', 'solidity');
/** Contracts for tests only are kept apart from those that are deployed. */
const TESTING = 'testing/';

/**
 * The weakest chain we deploy to decides: transient storage (the reentrancy guard) needs cancun, and nothing
 * needs more. 10,000 runs: a call costs its gas thousands of times, a deployment once.
 */
const SETTINGS = {
  evmVersion: 'cancun',
  optimizer: { enabled: true, runs: 10_000 },
};

const OUTPUTS = [
  'abi',
  'evm.bytecode.object',
  'evm.deployedBytecode.object',
  'evm.deployedBytecode.immutableReferences',
];

function sourceFiles(folder = '') {
  return readdirSync(join(SOURCES, folder), { withFileTypes: true })
    .flatMap((entry) => {
      const path = `${folder}${entry.name}`;
      if (entry.isDirectory()) return sourceFiles(`${path}/`);
      return entry.name.endsWith('.sol') ? [path] : [];
    })
    .sort();
}

const require = createRequire(import.meta.url);

/** Imports are files of installed packages, never of a network. */
function readImport(path) {
  try {
    return { contents: readFileSync(require.resolve(path), 'utf8') };
  } catch {
    return { error: `${path} is not installed: run npm install` };
  }
}

/** @returns {{ sources: Record<string, object>, contracts: Record<string, Record<string, object>> }} */
function compileAll(files) {
  const input = {
    language: 'Solidity',
    sources: Object.fromEntries(
      files.map((path) => [path, { content: readFileSync(join(SOURCES, path), 'utf8') }]),
    ),
    settings: { ...SETTINGS, outputSelection: { '*': { '*': OUTPUTS } } },
  };
  const output = JSON.parse(solc.compile(JSON.stringify(input), { import: readImport }));
  // A warning is a finding too, but in code that is not ours.
  const complaints = (output.errors ?? []).filter(
    ({ severity, sourceLocation }) =>
      severity === 'error' || !sourceLocation?.file.startsWith('@openzeppelin/'),
  );
  if (complaints.length > 0) {
    throw new Failure('contracts do not compile cleanly', {
      detail: complaints.map((each) => each.formattedMessage).join('\n'),
      todo: 'mend contracts/solidity, then run `npm run contracts`',
    });
  }
  return output;
}

/** What a user of a contract needs; immutables are where deployed code may differ from ours. */
function artifactOf(name, source, compiled) {
  const { abi, evm } = compiled;
  const immutables = Object.values(evm.deployedBytecode.immutableReferences ?? {})
    .flat()
    .sort((a, b) => a.start - b.start);
  return {
    name,
    source: `contracts/solidity/${source}`,
    compiler: solc.version(),
    settings: SETTINGS,
    abi,
    bytecode: `0x${evm.bytecode.object}`,
    deployedBytecode: `0x${evm.deployedBytecode.object}`,
    immutables,
  };
}

/**
 * Every contract that can be deployed, as the files of contracts/abi.
 * @returns {Map<string, string>} path below contracts/abi → contents
 */
export function compileContracts() {
  const files = sourceFiles();
  const { contracts } = compileAll(files);
  const artifacts = new Map();
  for (const source of files) {
    for (const [name, compiled] of Object.entries(contracts[source] ?? {})) {
      if (compiled.evm.bytecode.object === '') continue;
      const path = `${source.startsWith(TESTING) ? TESTING : ''}${name}.json`;
      const artifact = artifactOf(name, source, compiled);
      artifacts.set(path, `${JSON.stringify(artifact, null, 2)}\n`);
    }
  }
  return artifacts;
}
