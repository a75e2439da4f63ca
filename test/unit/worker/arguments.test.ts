/** @file The command line of the worker: what is understood, and what is said about the rest. */
import { encodeInvite } from '@ravenlab/protocol';
import { readArguments } from '../../../worker/src/arguments.js';
import { parseSize } from '../../../worker/src/machineInfo.js';

const INVITE = {
  host: '10.0.0.5',
  port: 41_234,
  serverKey: 'rq:rM>}U?@Lns47E1%kR.o@n%FcmmsL/@{H8]yf7',
  token: 'secret',
};
const TEXT = encodeInvite(INVITE);

describe('the command line', () => {
  test('joins by invite, with options', () => {
    const args = ['join', TEXT, '--threads', '3', '--memory', '4G', '--name', 'lab 3'];
    expect(readArguments(args, {})).toEqual({
      kind: 'join',
      invite: INVITE,
      threads: 3,
      memoryBytes: 4 * 2 ** 30,
      backend: 'auto',
      name: 'lab 3',
    });
  });

  test('runs for an engine, with the secret from the environment', () => {
    const environment = { RAVENLAB_WORKER_TOKEN: 'secret' };
    expect(readArguments(['run', '--connect', 'ipc:///x'], environment)).toMatchObject({
      kind: 'run',
      endpoint: 'ipc:///x',
      token: 'secret',
      backend: 'onnx-cpu',
    });
  });

  test('asks the doctor', () => {
    expect(readArguments(['doctor', '--threads', '2'], {})).toEqual({ kind: 'doctor', threads: 2 });
  });

  test.each([[[]], [['help']], [['--help']], [['join', '-h']]])('helps on %j', (args) => {
    expect(readArguments(args, {})).toEqual({ kind: 'help' });
  });

  test.each([
    [['dance'], /unknown command "dance"/],
    [['join'], /join takes one invite, got 0/],
    [['join', TEXT, TEXT], /got 2/],
    [['join', 'nonsense'], /not a valid invite/],
    [['run'], /run needs --connect/],
    [['join', TEXT, '--threads', '0'], /--threads 0: expected 1 … 1024/],
    [['join', TEXT, '--threads', 'all'], /--threads all/],
    [['join', TEXT, '--memory', 'lots'], /--memory lots: expected a size/],
    [['join', TEXT, '--backend', 'abacus'], /--backend abacus: expected auto or one of onnx-cpu/],
    [['join', TEXT, '--name', 'x'.repeat(65)], /more than 64 characters/],
    [['join', TEXT, '--fast'], /Unknown option '--fast'/],
  ])('refuses %j', (args, reason) => {
    expect(() => readArguments(args, {})).toThrow(reason);
  });

  test.each([
    ['1024', 1024],
    ['4G', 4 * 2 ** 30],
    ['1.5g', 1.5 * 2 ** 30],
    ['512 MiB', 512 * 2 ** 20],
    ['8kb', 8192],
    ['0', null],
    ['-1G', null],
    ['4T', null],
    ['', null],
  ])('reads the size %j', (text, bytes) => {
    expect(parseSize(text)).toBe(bytes);
  });
});
