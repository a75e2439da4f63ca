/** @file `worker doctor` as a person runs it: real backends, each in a process of its own. */
import { execFile } from 'node:child_process';
import { resolve } from 'node:path';
import { promisify } from 'node:util';
import { BACKENDS } from '@ravenlab/protocol';

const CLI = resolve(__dirname, '..', '..', 'worker', 'dist', 'cli.js');

test('the doctor tries every backend out, measures those that work and explains the rest', async () => {
  const { stdout } = await promisify(execFile)(process.execPath, [CLI, 'doctor', '--threads', '1']);
  expect(stdout).toMatch(/^→? +onnx-cpu .*GFLOP\/s.* GB\/s +onnxruntime \d/m);
  expect(stdout).toMatch(/^→? +onnx-wasm .*GFLOP\/s.* GB\/s +onnxruntime-web \d/m);
  expect(stdout).toMatch(/^→? +tfjs-cpu .*GFLOP\/s.* GB\/s +tfjs \d/m);
  const picked = /^--backend auto picks (\S+)\.$/m.exec(stdout)?.[1];
  expect(stdout).toMatch(new RegExp(`^→ +${String(picked)} `, 'm'));
  for (const name of BACKENDS) expect(stdout).toContain(name);
  const [, missing = ''] = stdout.split('Not available here:\n');
  const explained = missing.split('\n').filter((line) => /^ {2}\S+: \S/.test(line));
  const remedies = missing.split('\n').filter((line) => /^ {6}→ \S/.test(line));
  expect(remedies).toHaveLength(explained.length);
});
