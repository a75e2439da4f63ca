/** @file What link:tensorflow says of a wheel that it cannot link. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { partsOf } from '../../../scripts/lib/tensorflow.mjs';

let folder: string;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'ravenlab-wheel-'));
});

afterEach(() => rmSync(folder, { recursive: true }));

function failureOf(version: string): { message: string; todo: string } {
  try {
    partsOf({ folder, version });
  } catch (error) {
    return error as { message: string; todo: string };
  }
  throw new Error('it was taken');
}

it.each(['2.15.1', '2.2.0', '3.0.0', '2.210.0'])(
  'refuses TensorFlow %s by its number',
  (version) => {
    const { message, todo } = failureOf(version);
    expect(message).toContain(`the wheel in .venv is TensorFlow ${version}, expected 2.21`);
    expect(todo).toContain("pip install --force-reinstall --no-deps 'tensorflow-cpu==2.21.*'");
  },
);

it('names what a wheel of the right number lacks', () => {
  const { message, todo } = failureOf('2.21.0');
  expect(message).toMatch(/TensorFlow 2\.21\.0 has no .*c_api\.h, .*libtensorflow_cc\.so\.2/);
  expect(todo).toContain('tensorflow-cpu==2.21.*');
});
