/**
 * @file `npm run states`: draws docs/states.md from the literal tables of the kernel's and the worker's core. With `--check`
 * it writes nothing and fails when the file is not what the tables say.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { pathToFileURL } from 'node:url';
import prettier from 'prettier';
import { fromRoot } from './lib/paths.mjs';

const FILE = 'docs/states.md';

/**
 * Title, source and name of each table; its first row is where the machine begins.
 * @type {[title: string, file: string, table: string][]}
 */
const MACHINES = [
  ['Member of the cluster', 'kernel/src/core/cluster/memberTable.ts', 'MEMBER_TABLE'],
  [
    'Standing of a worker, over all its incarnations',
    'kernel/src/core/cluster/standingTable.ts',
    'STANDING_TABLE',
  ],
  ['Execution of a plan', 'kernel/src/core/cluster/executionTable.ts', 'EXECUTION_TABLE'],
  ['Unit of work', 'kernel/src/core/cluster/unitTable.ts', 'UNIT_TABLE'],
  ['Lease, at the engine', 'kernel/src/core/cluster/leaseTable.ts', 'LEASE_TABLE'],
  ['Transaction in the outbox', 'kernel/src/core/chain/outboxTable.ts', 'OUTBOX_TABLE'],
  ['Transfer of the ledger', 'kernel/src/core/ledger/ledger.ts', 'TRANSFER_TABLE'],
  ['Lease, at the worker', 'worker/src/core/leaseTable.ts', 'LEASE_TABLE'],
];

/** The comment right above a declaration: what the statuses, or the causes, mean. */
function commentAbove(source, pattern) {
  const at = source.search(pattern);
  const before = source.slice(0, at).trimEnd();
  if (at < 0 || !before.endsWith('*/')) return null;
  return before
    .slice(before.lastIndexOf('/**') + 3, -2)
    .replaceAll(/\s*\n\s*\*\s*/g, ' ')
    .trim();
}

function transitionsOf(table) {
  return Object.entries(table).flatMap(([status, row]) =>
    Object.entries(row).map(([cause, next]) => ({ status, cause, next })),
  );
}

/** Causes that lead the same way share an arrow. */
function arrowsOf(transitions) {
  const arrows = new Map();
  for (const { status, cause, next } of transitions) {
    const key = `${status} --> ${next}`;
    arrows.set(key, [...(arrows.get(key) ?? []), cause]);
  }
  return [...arrows].map(([key, causes]) => `  ${key}: ${causes.join(', ')}`);
}

function gridOf(table) {
  const causes = [...new Set(transitionsOf(table).map(({ cause }) => cause))];
  const line = (cells) => `| ${cells.join(' | ')} |`;
  return [
    line(['', ...causes]),
    line(['---', ...causes.map(() => '---')]),
    ...Object.entries(table).map(([status, row]) =>
      line([`**${status}**`, ...causes.map((cause) => row[cause] ?? '')]),
    ),
  ];
}

async function sectionOf([title, file, name]) {
  const table = (await import(pathToFileURL(fromRoot(file)).href))[name];
  if (table === undefined) throw new Error(`${file} exports no ${name}`);
  const source = readFileSync(fromRoot(file), 'utf8');
  const [first] = Object.keys(table);
  const ends = Object.keys(table).filter((status) => Object.keys(table[status]).length === 0);
  const notes = [
    commentAbove(source, /export (const|type) \w+(STATUSES\w*|Status)\b/),
    commentAbove(source, /export type \w+Cause\b/),
  ].filter((note) => note !== null);
  return [
    `## ${title}`,
    `\`${file}\``,
    ...notes.map((note) => `- ${note.replaceAll(' · ', '\n- ')}`),
    ['```mermaid', 'stateDiagram-v2', `  [*] --> ${first}`].join('\n') +
      `\n${[...arrowsOf(transitionsOf(table)), ...ends.map((end) => `  ${end} --> [*]`), '```'].join('\n')}`,
    gridOf(table).join('\n'),
  ].join('\n\n');
}

const sections = [];
for (const machine of MACHINES) sections.push(await sectionOf(machine));
const text = [
  '# State machines',
  'Drawn from the literal tables by `npm run states`; `npm run check` fails when this file is stale. A row is a status, a ' +
    'column a cause; an empty cell cannot happen, and stops the process with its story if it does.',
  ...sections,
].join('\n\n');
const options = await prettier.resolveConfig(fromRoot(FILE));
const drawn = await prettier.format(text, { ...options, parser: 'markdown' });

if (process.argv.includes('--check')) {
  let written = '';
  try {
    written = readFileSync(fromRoot(FILE), 'utf8');
  } catch {
    // Not there: stale.
  }
  if (written !== drawn) {
    console.error(`${FILE} is not what the tables say: npm run states, and commit it`);
    process.exitCode = 1;
  }
} else {
  writeFileSync(fromRoot(FILE), drawn);
}
