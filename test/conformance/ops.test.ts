/**
 * @file Every op on every backend against the float64 oracle: the cases of cases.ts and, forward, those of the gradients.
 *
 * @jest-environment ./test/support/nativeArrays.ts
 */
import type { OpName } from '@ravenlab/protocol';
import { OP_NAMES, verifyProgram } from '@ravenlab/protocol';
import { runReference } from '../../kernel/src/core/reference/runReference.js';
import type { Backend } from '../../worker/src/compute/backend.js';
import { GRAD_CASES } from '../unit/core/lib/gradCases.js';
import {
  BACKENDS_UNDER_TEST,
  MISSING_BACKENDS,
  expectClose,
  inputData,
  open,
  programOf,
  runOnce,
} from './lib/backends.js';
import type { ForwardCase } from './lib/caseInputs.js';
import { FORWARD_CASES } from './lib/cases.js';
import { TRIALS, allowedError } from './lib/support.js';

function casesOf(op: OpName): readonly ForwardCase<OpName>[] {
  const own = FORWARD_CASES[op] as readonly ForwardCase<OpName>[];
  const ofGradients = GRAD_CASES[op].map(({ name, inputs, params }) => ({
    name: `${name} (gradient case)`,
    inputs: inputs.map(({ shape, values, range, dtype = 'float32' }) => ({
      dtype,
      shape,
      ...(values === undefined ? {} : { values }),
      ...(range === undefined ? {} : { range }),
    })),
    params,
  }));
  return [...own, ...(ofGradients as ForwardCase<OpName>[])];
}

test('no backend is tried here of which docs/backends.md says that it never was', () => {
  expect(BACKENDS_UNDER_TEST.filter((name) => !TRIALS[name].isTried)).toEqual([]);
});

test('every op has a case of its own', () => {
  expect(OP_NAMES.filter((op) => FORWARD_CASES[op].length === 0)).toEqual([]);
});

if (MISSING_BACKENDS.length > 0) {
  test.skip.each(MISSING_BACKENDS)('not tried here: %s', () => undefined);
}

describe.each(BACKENDS_UNDER_TEST)('%s', (name) => {
  let backend: Backend;
  beforeAll(async () => {
    backend = await open(name);
  });
  afterAll(() => backend.dispose());

  test.each(OP_NAMES)('%s agrees with the oracle', (op) => {
    const problems: string[] = [];
    for (const { name: what, inputs, params, absolute } of casesOf(op)) {
      const data = inputs.map((input, index) => inputData(input, index + 1));
      const types = inputs.map(({ dtype, shape }) => ({ dtype, shape }));
      try {
        const program = programOf(op, types, params as never);
        verifyProgram(program);
        const [actual] = runOnce(backend, program, data);
        const [expected] = runReference(program, data);
        expectClose(actual!, expected!, what, (absolute ?? 0) + allowedError(name, op));
      } catch (error) {
        problems.push(`${what}: ${String(error)}`);
      }
    }
    expect(problems).toEqual([]);
  });
});
