/** @file The quickstart notebook, cell by cell in a real kernel, on workers of chosen backends: how well it learns, who did it. */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { WireFormat } from '@ravenlab/protocol';
import { JupyterClient } from '../../test/integration/lib/jupyterClient.js';

/** How much of it is trained. */
export interface Course {
  readonly digits: number;
  readonly epochs: number;
}

export interface Crowd {
  /** One worker each. */
  readonly backends: readonly string[];
  /** What gradients travel as. */
  readonly wire: WireFormat;
  /** What products are made in. */
  readonly compute: 'float32' | 'float16';
  /** The backend that computes alone until its worker has done a few units: much slower than others, it is outrun ever after. */
  readonly first?: string;
  /** What drivers need. */
  readonly env: Readonly<Record<string, string>>;
}

export interface Learned {
  /** Of 1,000 digits that were not trained on, %. */
  readonly accuracy: number;
  /** Of the training cell alone, ms. */
  readonly trainMs: number;
  /** What the engine says of the run's bits. */
  readonly promise: string;
  /** Units by backend. */
  readonly units: Readonly<Record<string, number>>;
  /** What the kernel said beside the cells. */
  readonly notices: string;
}

/** As it stands in the notebook. */
export const WHOLE: Course = { digits: 9000, epochs: 5 };

const NOTEBOOK = new URL('../../notebooks/01-quickstart.ipynb', import.meta.url);
const CELL_MS = 30 * 60_000;
const ACCURACY = /accuracy on digits it has never seen: ([0-9.]+) %/;
const TRAINING = 'const opt = ';
const WHO = `const crowd = [...(await cluster.workers())].map((w) => [w.backend, w.unitsDone]);
console.log(JSON.stringify({ crowd, promise: (await cluster.status()).job.promise }));`;

/** Units of the backend that computes alone: the first step's. */
const FIRST_UNITS = 4;

/** Takes work from all workers but those of `backend`, and gives it back when these have had their turn. */
const turnOf = (backend: string): string => `
const others = [...(await cluster.workers())].filter((w) => w.backend !== '${backend}');
for (const other of others) await cluster.drain(other);
const turn = setInterval(async () => {
  const first = [...(await cluster.workers())].filter((w) => w.backend === '${backend}');
  if (first.some((w) => w.unitsDone < ${String(FIRST_UNITS)})) return;
  clearInterval(turn);
  for (const other of others) await cluster.resume(other);
}, 500);`;

interface Cell {
  readonly cell_type: string;
  readonly source: readonly string[];
}

/** What stands in a cell, what stands there in a shorter course. */
type Change = readonly [from: string, to: string];

/** The notebook's own words, but for how much is trained. @throws Error when a line that has to change is not there. */
function cellsOf({ digits, epochs }: Course): string[] {
  const { cells } = JSON.parse(readFileSync(NOTEBOOK, 'utf8')) as { readonly cells: Cell[] };
  const code = cells
    .filter(({ cell_type: kind }) => kind === 'code')
    .map(({ source }) => source.join(''));
  const isWhole = digits === WHOLE.digits && epochs === WHOLE.epochs;
  const changes: readonly Change[] = isWhole
    ? []
    : [
        ['const epochs = 5;', `const epochs = ${String(epochs)};`],
        ['data.loader(train,', `data.loader(train.slice(0, ${String(digits)}),`],
        // A shorter course need not reach what the notebook promises.
        ['if (accuracy < 97.5)', 'if (accuracy < 0)'],
      ];
  for (const [from] of changes) {
    if (!code.some((text) => text.includes(from))) throw new Error(`the notebook lacks: ${from}`);
  }
  return code.map((text) => changes.reduce((all, [from, to]) => all.replace(from, to), text));
}

/** Runs the notebook. @throws Error of the first cell that fails. */
export async function quickstart(
  { backends, wire, compute, first: firstToWork, env }: Crowd,
  course: Course,
): Promise<Learned> {
  const home = mkdtempSync(join(tmpdir(), 'ravenlab-quickstart-'));
  const client = await JupyterClient.start({
    cwd: fileURLToPath(new URL('.', NOTEBOOK)),
    env: {
      ...env,
      RAVENLAB_HOME: home,
      RAVENLAB_LOCAL_WORKERS: String(backends.length),
      RAVENLAB_LOCAL_BACKENDS: backends.join(','),
    },
  });
  const run = async (code: string): Promise<string> => {
    const { error, stdout } = await client.execute(code, { timeoutMs: CELL_MS });
    if (error !== undefined) throw new Error(`${error.evalue}\n${error.traceback}`);
    return stdout;
  };
  try {
    const [first = '', ...rest] = cellsOf(course);
    await run(first.replace('cluster.ready(2)', `cluster.ready(${String(backends.length)})`));
    const isMixed = new Set(backends).size > 1;
    await run(`cluster.wire = '${wire}'; cluster.compute = '${compute}';`);
    if (isMixed) await run('await cluster.configure({ mixClasses: true });');
    let printed = '';
    let trainMs = NaN;
    for (const code of rest) {
      if (code.startsWith(TRAINING) && firstToWork !== undefined) await run(turnOf(firstToWork));
      const startedMs = performance.now();
      printed += await run(code);
      if (code.startsWith(TRAINING)) trainMs = performance.now() - startedMs;
    }
    return { ...(await whoDidIt(run)), trainMs, ...said(client, printed) };
  } finally {
    await client.close();
    rmSync(home, { recursive: true, force: true });
  }
}

async function whoDidIt(
  run: (code: string) => Promise<string>,
): Promise<Pick<Learned, 'promise' | 'units'>> {
  const { crowd, promise } = JSON.parse(await run(WHO)) as {
    readonly crowd: readonly (readonly [string, number])[];
    readonly promise: string;
  };
  const units: Record<string, number> = {};
  for (const [backend, count] of crowd) units[backend] = (units[backend] ?? 0) + count;
  return { promise, units };
}

function said(client: JupyterClient, printed: string): Pick<Learned, 'accuracy' | 'notices'> {
  const notices = client.iopub
    .filter(({ type, content }) => type === 'stream' && content['name'] === 'stderr')
    .map(({ content }) => String(content['text']))
    .join('');
  return { accuracy: Number(ACCURACY.exec(printed)?.[1]), notices };
}
