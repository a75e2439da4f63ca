/**
 * @file The quickstart notebook on every backend that starts here, on three of them at once, with gradients in fewer bytes and with
 * products in float16, each against the same course on onnx-cpu. Real kernel, engine and workers. `--only=name,…` runs some; onnx-cpu always runs, as the baseline.
 */
import type { WireFormat } from '@ravenlab/protocol';
import { deviceEnv } from '../scripts/lib/devices.mjs';
import type { Course, Learned } from './lib/quickstart.js';
import { WHOLE, quickstart } from './lib/quickstart.js';
import type { Verdict } from './lib/report.js';
import { report } from './lib/report.js';

/** Points of accuracy that a backend may be off. */
const POINTS = 0.3;
const MS_PER_S = 1000;
/** For what computes a hundred or a thousand times slower than a processor should. */
const SHORT: Course = { digits: 512, epochs: 4 };
/** With one such among others. */
const MIDDLE: Course = { digits: 2048, epochs: 3 };
const BASELINE = 'onnx-cpu';

interface Case {
  readonly name: string;
  readonly backends: readonly string[];
  readonly course: Course;
  readonly wire?: WireFormat;
  readonly compute?: 'float16';
  readonly first?: string;
}

const twice = (backend: string): readonly string[] => [backend, backend];

/** A software adapter takes all cores for one worker. */
const CASES: readonly Case[] = [
  { name: 'onnx-wasm', backends: twice('onnx-wasm'), course: WHOLE },
  { name: 'tfjs-node', backends: twice('tfjs-node'), course: WHOLE },
  { name: 'tfjs-cpu', backends: twice('tfjs-cpu'), course: SHORT },
  { name: 'tfjs-webgpu', backends: ['tfjs-webgpu'], course: SHORT },
  ...(['bfloat16', 'float16', 'int8'] as const).map((wire) => ({
    ...{ name: `wire ${wire}`, backends: twice(BASELINE), course: WHOLE, wire },
  })),
  { name: 'float16', backends: twice(BASELINE), course: WHOLE, compute: 'float16' },
  {
    name: 'mixed',
    backends: ['onnx-cpu', 'tfjs-webgpu', 'onnx-wasm'],
    course: MIDDLE,
    first: 'tfjs-webgpu',
  },
];

const only = process.argv
  .find((word) => word.startsWith('--only='))
  ?.slice('--only='.length)
  .split(',');
const isChosen = ({ name }: Case): boolean => only === undefined || only.includes(name);

const found = await deviceEnv({ mayInstall: false });
const env = Object.fromEntries(
  Object.entries(found).filter((entry): entry is [string, string] => entry[1] !== undefined),
);
const devices = (env['RAVENLAB_BACKENDS'] ?? '').split(' ');
const missing = (env['RAVENLAB_BACKENDS_MISSING'] ?? '').split('\n');
const ALWAYS = ['onnx-cpu', 'onnx-wasm', 'tfjs-cpu'];
const starts = ({ backends }: Case): boolean =>
  backends.every((backend) => ALWAYS.includes(backend) || devices.includes(backend));

const line = (name: string, { digits, epochs }: Course, learned: Learned): string => {
  const units = Object.entries(learned.units).map(([backend, count]) => `${backend} ${count}`);
  const seconds = (learned.trainMs / MS_PER_S).toFixed(0);
  return [
    name.padEnd(12),
    `${String(epochs)} x ${String(digits)}`.padEnd(9),
    `${learned.accuracy.toFixed(1)} %`.padStart(7),
    `${seconds} s`.padStart(6),
    learned.promise.padEnd(16),
    units.join(', '),
  ].join('  ');
};

const chosen = CASES.filter(isChosen);
for (const each of chosen.filter((one) => !starts(one))) {
  const reasons = missing.filter((text) => each.backends.some((name) => text.startsWith(name)));
  console.log(`${each.name}: left out, ${reasons.join('; ')}`);
}
const baselines = new Map<Course, Learned>();
const verdicts: Verdict[] = [];
for (const each of chosen.filter(starts)) {
  const { name, backends, course, first, wire = 'float32', compute = 'float32' } = each;
  let baseline = baselines.get(course);
  if (baseline === undefined) {
    const plain = { wire: 'float32', compute: 'float32' } as const;
    baseline = await quickstart({ backends: twice(BASELINE), ...plain, env }, course);
    baselines.set(course, baseline);
    console.log(line(BASELINE, course, baseline));
  }
  const turn = first === undefined ? {} : { first };
  const learned = await quickstart({ backends, wire, compute, env, ...turn }, course);
  console.log(line(name, course, learned));
  verdicts.push({
    metric: `${name}, points of accuracy away from ${BASELINE}`,
    // A tenth of a point is one digit of the thousand; binary fractions need not decide.
    value: Math.round(10 * Math.abs(learned.accuracy - baseline.accuracy)) / 10,
    baseline: { name: `${BASELINE}, %`, value: baseline.accuracy },
    atMost: POINTS,
  });
  if (new Set(backends).size === 1) continue;
  verdicts.push({
    metric: `${name}, says that it is of the tolerance tier`,
    value: Number(
      learned.promise === 'within-tolerance' && learned.notices.includes('Tolerance tier'),
    ),
    baseline: { name: 'one class', value: 1 },
    atLeast: 1,
  });
  verdicts.push({
    metric: `${name}, backends that did a part`,
    value: Object.values(learned.units).filter((count) => count > 0).length,
    baseline: { name: 'workers', value: backends.length },
    atLeast: new Set(backends).size,
  });
}
report('backends', [], verdicts, { cases: chosen.map(({ name }) => name).join(' ') });
