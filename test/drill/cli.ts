/** @file `npm run drill`: real processes, real kills; the last line is JSON. */
import { cpus, loadavg } from 'node:os';
import { parseArgs } from 'node:util';
import { Prng } from '../sim/prng.js';
import { nowMs } from './lib/clock.js';
import type { Drill } from './lib/drill.js';
import { Skip } from './lib/drill.js';
import { checkBuilt } from './lib/paths.js';
import type { Verdict } from './lib/verdict.js';
import { format, isGood } from './lib/verdict.js';
import { DRILLS } from './table.js';

/** Where others work on the machine too, times say little: the short form only catches what is far off. */
const SHORT_SLACK = 20;

// Drills about pay ask for a chain; the others measure engines that do nothing beside.
process.env['RAVENLAB_CHAIN'] ??= 'off';

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    short: { type: 'boolean', default: false },
    list: { type: 'boolean', default: false },
    seed: { type: 'string', default: '1' },
    slack: { type: 'string' },
  },
});

const textOf = (error: unknown): string =>
  error instanceof Error ? (error.stack ?? error.message) : String(error);

async function runDrill(drill: Drill, seed: number): Promise<Verdict> {
  const startedMs = nowMs();
  const outcome = { figures: [], skipped: null, error: null };
  const context = {
    prng: new Prng(seed),
    isShort: values.short,
    say: (text: string) => {
      console.log(`    ${drill.name}: ${text}`);
    },
  };
  const end = (rest: object): Verdict => ({
    drill: drill.name,
    ...outcome,
    ...rest,
    tookMs: nowMs() - startedMs,
  });
  try {
    return end({ figures: await drill.run(context) });
  } catch (error) {
    if (error instanceof Skip) return end({ skipped: error.message });
    return end({ error: textOf(error) });
  }
}

async function main(): Promise<number> {
  const unknown = positionals.filter((name) => !DRILLS.some((drill) => drill.name === name));
  if (values.list || unknown.length > 0) {
    if (unknown.length > 0) console.error(`no drill is called ${unknown.join(', ')}; there are:`);
    for (const { name, title } of DRILLS) console.log(`${name.padEnd(12)} ${title}`);
    return unknown.length > 0 ? 1 : 0;
  }
  checkBuilt();
  const seed = Number(values.seed);
  const slack = Number(values.slack ?? (values.short ? SHORT_SLACK : 1));
  const chosen = DRILLS.filter(({ name, isInShort }) =>
    positionals.length > 0 ? positionals.includes(name) : isInShort || !values.short,
  );
  const verdicts: Verdict[] = [];
  for (const drill of chosen) {
    const verdict = await runDrill(drill, seed);
    verdicts.push(verdict);
    console.log(format(verdict, slack));
  }
  const machine = { cpu: cpus()[0]?.model.trim(), cores: cpus().length, load: loadavg()[0] };
  const isHeld = verdicts.every((verdict) => isGood(verdict, slack));
  const judged = verdicts.map((verdict) =>
    isGood(verdict, slack)
      ? { ...verdict, isGood: true }
      : { ...verdict, isGood: false, text: format(verdict, slack) },
  );
  const options = { seed, slack, isShort: values.short };
  console.log(JSON.stringify({ ...options, isHeld, verdicts: judged, machine }));
  return isHeld ? 0 : 1;
}

process.exitCode = await main();
