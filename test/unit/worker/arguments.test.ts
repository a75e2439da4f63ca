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
const TOKEN = '0xA0b86991c6218b36c1d19D4a2e9Eb0cE3606eB48';

describe('the command line', () => {
  test('joins by invite, with options', () => {
    const args = ['join', TEXT, '--threads', '3', '--memory', '4G', '--name', 'lab 3'];
    expect(readArguments(args, {})).toEqual({
      kind: 'join',
      proxy: null,
      invite: INVITE,
      threads: 3,
      memoryBytes: 4 * 2 ** 30,
      backend: 'auto',
      name: 'lab 3',
      pay: {
        password: { file: null, isAsked: false },
        policy: { rpcUrl: null, tokens: [], trustsUnchecked: false },
      },
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

  test('joins on the terms of its owner', () => {
    const args = ['join', TEXT, '--token', TOKEN, '--trust-unchecked', '--password-file', '/p'];
    const environment = { RAVENLAB_CHAIN_RPC: 'http://127.0.0.1:8545' };
    expect(readArguments(args, environment)).toMatchObject({
      pay: {
        password: { file: '/p', isAsked: false },
        policy: {
          rpcUrl: 'http://127.0.0.1:8545',
          tokens: [TOKEN.toLowerCase()],
          trustsUnchecked: true,
        },
      },
    });
    expect(readArguments(['join', TEXT, '--no-pay'], environment)).toMatchObject({ pay: null });
  });

  test('asks the wallet', () => {
    const common = {
      slot: 1,
      rpcUrl: null,
      password: { file: null, isAsked: false },
      job: '',
      isForced: false,
      etherPrice: 3_000,
    };
    expect(readArguments(['wallet'], {})).toEqual({ kind: 'wallet', ...common });
    expect(readArguments(['earnings', '--wallet', '2', '--job', '0x1a'], {})).toEqual({
      ...{ kind: 'earnings', ...common },
      ...{ slot: 2, job: '0x1a' },
    });
    expect(readArguments(['redeem', '--rpc', 'http://x', '--force'], {})).toEqual({
      ...{ kind: 'redeem', relay: null, ...common },
      ...{ rpcUrl: 'http://x', isForced: true },
    });
    expect(readArguments(['redeem', '--relay', 'r.json', '--ether-price', '2500.5'], {})).toEqual({
      ...{ kind: 'redeem', ...common },
      ...{ relay: 'r.json', etherPrice: 2_500.5 },
    });
    expect(readArguments(['relay', 'r.json'], {})).toEqual({
      ...{ kind: 'relay', file: 'r.json', ...common },
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
    [['join', TEXT, '--token', '0x12'], /--token 0x12: expected the token's address/],
    [['join', TEXT, '--ask-password', '--password-file', 'p'], /choose one/],
    [['relay'], /relay takes one file/],
    [['redeem', 'all'], /redeem takes no operand, got "all"/],
    [['earnings', '--job', '12'], /--job 12: expected the first characters/],
    [['earnings', '--wallet', '0'], /--wallet 0: expected 1 … 64/],
    [['redeem', '--ether-price', 'much'], /--ether-price much: expected how many coins/],
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
