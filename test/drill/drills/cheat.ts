/**
 * @file A fifth of the crowd lies. Each liar has to be found within a hundred of its units, nobody else may be accused, and the
 * weights have to be those of the honest run, to the bit.
 */
import type { Drill, DrillContext } from '../lib/drill.js';
import type { ModelName } from '../lib/models.js';
import { RECIPES } from '../lib/models.js';
import { unitsIn } from '../lib/refused.js';
import { Rig, referenceFor } from '../lib/rig.js';
import type { Figure } from '../lib/verdict.js';
import { atMost, holds, none, note } from '../lib/verdict.js';
import { until } from '../lib/clock.js';

/** Ways to lie, with the model that each is tried on; see cheater.mjs. */
const LIES: readonly (readonly [lie: string, model: ModelName, isInShort: boolean])[] = [
  ['zeros', 'mlp', false],
  ['stale', 'mlp', true],
  ['signFlip', 'gru', false],
  ['scaled', 'mlp', false],
  ['lazyCopy', 'cnn', false],
  ['sparse', 'mlp', true],
];
/** Units of a liar until it is found. */
const FOUND_WITHIN = 100;
/** Audits may cost so much of what all strangers compute. */
const OVERHEAD_PERCENT = 10;
/** Times that a course is run until each liar was given work. */
const COURSES_MAX = 3;
const HONEST_UNITS = 10_000;
const HONEST_WORKERS = 3;
const EPOCHS = 8;
/** The user's own worker, beside the crowd. */
const ENV = { RAVENLAB_AUDITS: 'on', RAVENLAB_LOCAL_WORKERS: '1' };

interface Course {
  readonly figures: readonly Figure[];
  /** Liars that were not given a unit to lie about. */
  readonly idle: number;
}

/** A run may end before a liar got its first unit, on a busy machine above all: it says nothing of that liar. */
async function course(...args: Parameters<typeof courseOnce>): Promise<Figure[]> {
  for (let run = 1; ; run++) {
    const { figures, idle } = await courseOnce(...args);
    if (idle === 0 || run === COURSES_MAX) return [...figures, note('courses', run)];
  }
}

/** Liars join first, so that each gets work before it can be found by the lies of another. */
async function courseOnce(
  model: ModelName,
  epochs: number,
  honest: number,
  lies: readonly string[],
): Promise<Course> {
  const reference = await referenceFor(model, epochs);
  const rig = await Rig.start({ model, epochs, workers: honest, env: ENV });
  try {
    const liars = await Promise.all(lies.map(async (lie) => (await rig.join(1, { lie }))[0]));
    const ids = new Map<string, string>();
    for (const [index, liar] of liars.entries()) {
      const member = liar === undefined ? null : await rig.memberOf(liar);
      ids.set(member?.workerId ?? '', lies[index] ?? '');
    }
    rig.train();
    const finish = await rig.kernel.finished();
    const { caught, panel } = await rig.status();
    const found = caught.filter((id) => ids.has(id));
    const refused = unitsIn('refused', rig.home);
    const paid = unitsIn('unit', rig.home);
    const sum = (rows: ReadonlyMap<string, number>): number =>
      found.reduce((units, id) => units + (rows.get(id) ?? 0), 0);
    const units = found.map((id) => refused.get(id) ?? 0);
    const others = [...ids].filter(([id]) => !found.includes(id));
    const idle = others.filter(([id]) => !refused.has(id) && !paid.has(id));
    const figures = [
      ...others.map(([id, lie]) => {
        const row = panel.contributors.find(({ workerId }) => workerId === id);
        const words = rig.kernel.notices.filter((text) => text.includes(id.slice(0, 6)));
        const state = `${row?.state ?? 'unknown'}, ${String(row?.unitsDone ?? 0)} units`;
        return note(`liar that was not found (${lie})`, [state, ...words].join(' · '));
      }),
      note('liars', lies.join(', ')),
      none('liars that were not found', others.length - idle.length),
      none('liars that were given no work', idle.length),
      none('honest workers accused', caught.length - found.length),
      atMost('units of a liar until it was found', Math.max(0, ...units), FOUND_WITHIN),
      // The first answer of a stale or copied result is its own.
      atMost('units of liars that are paid', sum(paid), lies.filter(startsHonest).length),
      note('weights', finish.weightsSha.slice(0, 16)),
      holds('same weights as the honest run', finish.weightsSha === reference.finish.weightsSha),
      none('samples lost', finish.tally?.lost ?? 0),
      none('samples counted twice', finish.tally?.twice ?? 0),
      note('times the run went back', rig.kernel.notices.filter(wentBack).length),
    ];
    return { figures, idle: idle.length };
  } finally {
    await rig.close();
  }
}

const startsHonest = (lie: string): boolean => lie === 'stale' || lie === 'lazyCopy';
const wentBack = (text: string): boolean => text.includes('goes back');

/** 10,000 units of honest strangers, audited as ever. */
async function honest({ say }: DrillContext): Promise<Figure[]> {
  const rig = await Rig.start({ model: 'mlp', workers: HONEST_WORKERS, env: ENV });
  try {
    rig.train();
    const { audits } = await until(
      `${String(HONEST_UNITS)} units of strangers`,
      async () => {
        const status = await rig.status();
        return (status.audits['answers'] ?? 0) >= HONEST_UNITS ? status : null;
      },
      { timeoutMs: 240_000, everyMs: 500 },
    );
    say(`${String(rig.kernel.lastStep)} steps of ${String(RECIPES.mlp.batch)} samples`);
    const { caught } = await rig.status();
    const flops = (name: string): number => audits[name] ?? 0;
    const percent = (100 * flops('auditFlops')) / Math.max(1, flops('answerFlops'));
    rig.kernel.wrapUp();
    await rig.kernel.finished();
    return [
      note('units of strangers', flops('answers')),
      note('units audited', flops('audits')),
      none('honest workers accused', caught.length),
      atMost(
        'audits, percent of what strangers compute',
        Number(percent.toFixed(2)),
        OVERHEAD_PERCENT,
      ),
    ];
  } finally {
    await rig.close();
  }
}

const one = ([lie, model, isInShort]: (typeof LIES)[number]): Drill => ({
  name: `cheat-${lie.toLowerCase()}`,
  title: `one of five workers lies (${lie}): found, banned, the run goes back: ${model}`,
  isInShort,
  run: () => course(model, EPOCHS, HONEST_WORKERS, [lie]),
});

export const CHEATS: readonly Drill[] = [
  ...LIES.map(one),
  {
    name: 'cheat-crowd',
    title: 'two of ten workers lie in two ways: both found, the run is that of an honest crowd',
    isInShort: false,
    run: () => course('mlp', 16, 7, ['scaled', 'sparse']),
  },
  {
    name: 'cheat-honest',
    title: '10,000 units of honest strangers: nobody is accused, and audits cost a tenth at most',
    isInShort: false,
    run: honest,
  },
];
