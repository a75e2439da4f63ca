/** @file What the doctor picks and says, from answers of the test's own. */
import type { BackendName } from '@ravenlab/protocol';
import { BACKENDS } from '@ravenlab/protocol';
import { BACKEND_TABLE, PREFERRED } from '../../../../worker/src/compute/backendTable.js';
import { pick } from '../../../../worker/src/doctor/choose.js';
import type { Probe } from '../../../../worker/src/doctor/probe.js';
import { doctorLines } from '../../../../worker/src/doctor/report.js';

const available = (name: BackendName, isSoftware = false): Probe => ({
  isAvailable: true,
  name,
  deviceName: 'Abacus 3000',
  version: 'beads 1.0',
  isSoftware,
  memoryBytes: 4 * 2 ** 30,
  speed: { gflops: 123.4, gigabytesPerSecond: 5.678 },
});
const missing = (name: BackendName, reason: string): Probe => ({
  isAvailable: false,
  name,
  reason,
});

describe('auto', () => {
  test.each([
    ['a device before the processor', ['onnx-cpu', 'tfjs-webgpu'], 'tfjs-webgpu'],
    ['an NVIDIA card through TensorFlow first', ['onnx-cuda', 'tfjs-node-gpu'], 'tfjs-node-gpu'],
    ['ONNX Runtime before WebAssembly', ['onnx-wasm', 'onnx-cpu', 'tfjs-cpu'], 'onnx-cpu'],
    ['the last resort when nothing else is there', [], 'tfjs-cpu'],
  ] as const)('picks %s', (_what, names, expected) => {
    expect(pick(names.map((name) => available(name)))).toBe(expected);
  });

  test('passes over a software stand-in and what does not start', () => {
    const probes = [
      missing('tfjs-node-gpu', 'no card'),
      available('tfjs-webgpu', true),
      available('onnx-cpu'),
    ];
    expect(pick(probes)).toBe('onnx-cpu');
  });

  test('knows an order and a remedy for every backend', () => {
    expect([...PREFERRED].sort()).toEqual([...BACKENDS].sort());
    for (const name of BACKENDS) expect(BACKEND_TABLE[name].remedy).not.toBe('');
  });
});

test('the report names what is available with its speed, and why the rest is not and what to do', () => {
  const lines = doctorLines({
    probes: [
      missing('tfjs-node', 'the addon is not linked'),
      available('onnx-cpu'),
      available('tfjs-webgpu', true),
    ],
    picked: 'onnx-cpu',
    threads: 1,
    machine: 'Abacus 3000, linux x64, Node 20.0.0',
  });
  expect(lines).toEqual([
    'Abacus 3000, linux x64, Node 20.0.0, 1 thread',
    '',
    '   backend      device                  memory  dtypes              speed        bandwidth  engine',
    '→  onnx-cpu     Abacus 3000             4 GiB   float32 int32 bool  123 GFLOP/s  5.68 GB/s  beads 1.0',
    '   tfjs-webgpu  Abacus 3000 (software)  4 GiB   float32 int32 bool  123 GFLOP/s  5.68 GB/s  beads 1.0',
    '',
    '--backend auto picks onnx-cpu.',
    '',
    'Not available here:',
    '  tfjs-node: the addon is not linked',
    '      → npm run link:tensorflow',
  ]);
});

test('what is long is folded at words, and of a page of a library its first line is shown', () => {
  const reason = `${'many words '.repeat(20)}\nstack\nstack`;
  const lines = doctorLines({
    probes: [missing('tfjs-webgpu', reason)],
    picked: 'tfjs-cpu',
    threads: 2,
    machine: 'Abacus 3000',
  });
  const told = lines.slice(lines.indexOf('Not available here:') + 1);
  expect(Math.max(...told.map(({ length }) => length))).toBeLessThanOrEqual(100);
  expect(told.join(' ')).not.toContain('stack');
  const words = told.map((line) => line.trim()).join(' ');
  expect(words).toContain(`→ ${BACKEND_TABLE['tfjs-webgpu'].remedy}`);
});
