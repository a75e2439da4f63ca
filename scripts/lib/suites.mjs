/** @file The table of everything that is checked: one row per suite, and how its results are counted. */
import { existsSync, mkdirSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { ensureChromium } from './chromium.mjs';
import { deviceEnv } from './devices.mjs';
import { cleanEnv, run } from './exec.mjs';
import { jupyterEnv } from './jupyter.mjs';
import { otherNodes } from './nodes.mjs';
import { CACHE, ROOT, fromRoot, venvProgram } from './paths.mjs';
import { listFiles } from './stamp.mjs';
import { typeScriptArgs } from './typescript.mjs';

const RESULTS = join(CACHE, 'test');
const MINUTE_MS = 60_000;
const SIMULATION_SECONDS = 20;
/** How much of a failing suite is shown; the rest is in its log. */
const DETAIL_LINES = 120;

/**
 * @typedef {object} Outcome
 * @property {number} passed
 * @property {number} failed
 * @property {string} [note] one line for the summary, e.g. schedules per second
 * @property {string[]} [skipped] names of tests that did not run, with the reason where one is known
 * @property {string} [detail] what a person needs to see when something failed
 */

/**
 * @typedef {object} Suite
 * @property {string} name
 * @property {'static' | 'logic' | 'processes'} kind static suites may overlap; the others run alone
 * @property {number} limitMs
 * @property {(context: SuiteContext) => Promise<Outcome>} run
 */

/** @typedef {{ name: string, limitMs: number, mayInstall: boolean }} SuiteContext */

const tail = (text) => text.trimEnd().split('\n').slice(-DETAIL_LINES).join('\n');

function resultFile(name) {
  mkdirSync(RESULTS, { recursive: true });
  const file = join(RESULTS, `${name}.json`);
  rmSync(file, { force: true });
  return file;
}

const bin = (path) => fromRoot('node_modules', path);

/** A tool that is right or wrong as a whole: exit code 0 is one pass. */
const tool = (program, args) => async (context) => {
  const result = await run(process.execPath, [program, ...args], {
    log: context.name,
    timeoutMs: context.limitMs,
    // Type-aware lint of every project at once needs more than the default heap.
    env: cleanEnv({ NODE_OPTIONS: '--max-old-space-size=4096' }),
  });
  const isGood = result.code === 0;
  return {
    passed: isGood ? 1 : 0,
    failed: isGood ? 0 : 1,
    detail: isGood ? '' : tail(result.output),
  };
};

/** Counts of a jest run; a test file that cannot even load counts as one failure. */
function countJest(report, code) {
  const tests = report.testResults.flatMap((file) => file.assertionResults);
  const failed = report.numFailedTests + report.numRuntimeErrorTestSuites;
  const messages = report.testResults.map((file) => file.message).filter((text) => text !== '');
  return {
    passed: report.numPassedTests,
    // Jest also fails for reasons no test carries, such as a handle left open at the end.
    failed: failed === 0 && code !== 0 ? 1 : failed,
    skipped: tests
      .filter((test) => ['pending', 'todo', 'skipped'].includes(test.status))
      .map((test) => test.fullName),
    detail: tail(messages.join('\n')),
  };
}

/** Suites without processes of their own take all cores: jest by itself leaves one, which is half of two. */
const ALL_CORES = ['--maxWorkers=100%'];

async function runJest({ name, limitMs }, env, log, args) {
  const output = resultFile(log);
  const jestArgs = ['--selectProjects', name, '--json', `--outputFile=${output}`, ...args];
  const result = await run(process.execPath, [bin('jest/bin/jest.js'), ...jestArgs], {
    ...{ log, env },
    timeoutMs: limitMs,
  });
  if (result.timedOut || !existsSync(output)) {
    const why = result.timedOut ? 'did not end in time' : 'ended without a report';
    return { passed: 0, failed: 1, skipped: [], detail: `jest ${why}\n${tail(result.output)}` };
  }
  return countJest(JSON.parse(readFileSync(output, 'utf8')), result.code);
}

/**
 * One jest project, named as its folder under test/.
 * @param {object} [options]
 * @param {(context: SuiteContext) => Promise<NodeJS.ProcessEnv>} [options.prepare]
 * @param {string[]} [options.args]
 * @param {string[]} [options.alone] files that run after the others, one at a time
 */
const jestProject =
  ({ prepare, args = ALL_CORES, alone = [] } = {}) =>
  async (context) => {
    const { name } = context;
    const files = listFiles([`test/${name}`]).filter((file) => file.endsWith('.test.ts'));
    const missing = alone.filter((file) => !files.includes(`test/${name}/${file}.test.ts`));
    if (files.length === 0 || missing.length > 0) {
      const what = files.length === 0 ? '*.test.ts file' : missing.join(', ');
      return { passed: 0, failed: 1, detail: `test/${name} holds no ${what}` };
    }
    const env = cleanEnv({ FORCE_COLOR: '0', ...(await prepare?.(context)) });
    if (alone.length === 0) return runJest(context, env, name, args);
    const pattern = `test/${name}/(${alone.join('|')})\\.test\\.ts$`;
    const together = await runJest(context, env, name, [
      `--testPathIgnorePatterns=${pattern}`,
      ...args,
    ]);
    const one = [`--testPathPatterns=${pattern}`, '--runInBand'];
    const after = await runJest(context, env, `${name}.alone`, one);
    return {
      passed: together.passed + after.passed,
      failed: together.failed + after.failed,
      skipped: [...together.skipped, ...after.skipped],
      detail: [together.detail, after.detail].filter((text) => text !== '').join('\n'),
    };
  };

/** What they test is how long something takes, which a neighbour on the same cores would spend, or what is left on the machine. */
const WITHOUT_NEIGHBOURS = [
  'durability',
  'kernelCluster',
  'kernelInterrupt',
  'localLink',
  'quickRuns',
  'start',
];

/** A Python runner of ours that writes { passed, failed, skipped, detail } as JSON. */
const python = (script, args) => async (context) => {
  const output = resultFile(context.name);
  const scriptArgs = [fromRoot('scripts/python', script), '--report', output, ...args];
  const result = await run(venvProgram('python'), scriptArgs, {
    log: context.name,
    // Each engine would start a chain of its own.
    env: { RAVENLAB_CHAIN: 'off', ...jupyterEnv() },
    timeoutMs: context.limitMs,
  });
  if (result.timedOut || !existsSync(output)) {
    const why = result.timedOut ? 'did not end in time' : 'ended without a report';
    return { passed: 0, failed: 1, detail: `${script} ${why}\n${tail(result.output)}` };
  }
  const report = JSON.parse(readFileSync(output, 'utf8'));
  const isSilentFailure = report.failed === 0 && result.code !== 0;
  return {
    ...report,
    failed: isSilentFailure ? 1 : report.failed,
    detail: isSilentFailure ? tail(result.output) : report.detail,
  };
};

async function simulation(context) {
  const program = fromRoot('test/sim/cli.ts');
  if (!existsSync(program)) return { passed: 0, failed: 1, detail: `${program} is missing` };
  const args = [...typeScriptArgs(program), '--seconds', String(SIMULATION_SECONDS)];
  const result = await run(process.execPath, args, {
    log: 'simulation',
    timeoutMs: context.limitMs,
  });
  const lastLine = result.output.trimEnd().split('\n').at(-1) ?? '';
  const isGood = result.code === 0;
  return {
    passed: isGood ? 1 : 0,
    failed: isGood ? 0 : 1,
    note: isGood ? lastLine : '',
    detail: isGood ? '' : tail(result.output),
  };
}

/** The short form of the drills: promises as always, times with generous bars. */
async function drills(context) {
  const args = [...typeScriptArgs(fromRoot('test/drill/cli.ts')), '--short'];
  const result = await run(process.execPath, args, {
    log: context.name,
    timeoutMs: context.limitMs,
    env: cleanEnv(),
  });
  const lastLine = result.output.trimEnd().split('\n').at(-1) ?? '';
  if (result.timedOut || !lastLine.startsWith('{')) {
    const why = result.timedOut ? 'did not end in time' : 'ended without a verdict';
    return { passed: 0, failed: 1, detail: `drills: ${why}\n${tail(result.output)}` };
  }
  const { verdicts } = JSON.parse(lastLine);
  const ran = verdicts.filter(({ skipped }) => skipped === null);
  const failed = ran.filter(({ isGood }) => !isGood);
  return {
    passed: ran.length - failed.length,
    failed: failed.length,
    skipped: verdicts
      .filter(({ skipped }) => skipped !== null)
      .map(({ drill, skipped }) => `${drill} (${skipped})`),
    // Only these: the figures of those that held would push them out of sight.
    detail: failed.map(({ text }) => text).join('\n'),
  };
}

const ESLINT_ARGS = [
  '.',
  '--cache',
  '--cache-location',
  '.cache/eslint/',
  '--cache-strategy',
  'content',
];
const PRETTIER_ARGS = [
  '--check',
  '.',
  '--cache',
  '--cache-location',
  '.cache/prettier',
  '--log-level',
  'warn',
];
const processEnv = () => Promise.resolve(jupyterEnv());
const conformanceEnv = async (options) => ({
  ...(await otherNodes(options)),
  ...(await deviceEnv(options)),
});
const browserEnv = async ({ mayInstall }) => ({
  ...jupyterEnv(),
  RAVENLAB_CHROMIUM: await ensureChromium({ mayInstall }),
});

/** docs/states.md and docs/backends.md against the tables that they are written from. */
const STATES = [...typeScriptArgs(fromRoot('scripts/states.mjs')), '--check'];
const BACKENDS = [...typeScriptArgs(fromRoot('scripts/backends.mjs')), '--check'];

/**
 * Name, kind, limit in minutes, how it runs; `npm run check` runs static and logic, `npm test` all.
 * @type {Array<[string, Suite['kind'], number, Suite['run']]>}
 */
const ROWS = [
  ['format', 'static', 3, tool(bin('prettier/bin/prettier.cjs'), PRETTIER_ARGS)],
  ['lint', 'static', 8, tool(bin('eslint/bin/eslint.js'), [...ESLINT_ARGS, '--max-warnings', '0'])],
  ['types', 'static', 5, tool(bin('typescript/bin/tsc'), ['-b', ROOT])],
  ['layers', 'static', 3, tool(fromRoot('scripts/lint/layers.mjs'), [])],
  ['states', 'static', 1, tool(STATES[0], STATES.slice(1))],
  ['backends', 'static', 1, tool(BACKENDS[0], BACKENDS.slice(1))],
  ['unused', 'static', 3, tool(bin('knip/bin/knip.js'), ['--no-progress'])],
  ['artifacts', 'static', 2, tool(fromRoot('scripts/contracts.mjs'), ['--check'])],
  ['unit', 'logic', 5, jestProject()],
  ['property', 'logic', 5, jestProject()],
  ['scenario', 'logic', 5, jestProject()],
  ['sim', 'logic', 5, jestProject()],
  ['simulation', 'logic', 2, simulation],
  ['conformance', 'processes', 12, jestProject({ prepare: conformanceEnv })],
  ['contracts', 'processes', 6, jestProject({ args: ['--runInBand'] })],
  [
    'integration',
    'processes',
    14,
    jestProject({ prepare: processEnv, args: ['--maxWorkers=2'], alone: WITHOUT_NEIGHBOURS }),
  ],
  [
    'kernel',
    'processes',
    5,
    python('run_kernel_tests.py', ['test/integration/jupyter_kernel_test']),
  ],
  ['drill', 'processes', 8, drills],
  ['notebooks', 'processes', 15, python('run_notebooks.py', ['notebooks'])],
  ['browser', 'processes', 10, jestProject({ prepare: browserEnv, args: ['--runInBand'] })],
];

/** @type {readonly Suite[]} */
export const SUITES = ROWS.map(([name, kind, minutes, execute]) => ({
  name,
  kind,
  limitMs: minutes * MINUTE_MS,
  run: execute,
}));
