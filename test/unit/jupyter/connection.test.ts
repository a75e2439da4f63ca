/** @file Connection files: read, checked, and turned into endpoints. */

import {
  endpointOf,
  parseConnection,
  readConnectionFile,
} from '../../../kernel/src/jupyter/connection.js';

const FIELDS = {
  ...{ shell_port: 1, iopub_port: 2, stdin_port: 3, control_port: 4, hb_port: 5 },
  ...{ transport: 'tcp', ip: '127.0.0.1', key: 'k', signature_scheme: 'hmac-sha256' },
};
const parse = (changes: Record<string, unknown>): unknown =>
  parseConnection(JSON.stringify({ ...FIELDS, ...changes }), 'f.json');

describe('a connection file', () => {
  it('names an endpoint for every channel', () => {
    const connection = parseConnection(JSON.stringify(FIELDS), 'f.json');
    expect(endpointOf(connection, 'heartbeat')).toBe('tcp://127.0.0.1:5');
    expect(endpointOf({ ...connection, transport: 'ipc', ip: '/tmp/k' }, 'iopub')).toBe(
      'ipc:///tmp/k-2',
    );
  });

  it.each([
    [{ shell_port: '1' }, 'shell_port must be a port number, found "1"'],
    [{ hb_port: 70_000 }, 'hb_port must be a port number'],
    [{ control_port: undefined }, 'control_port must be a port number'],
    [{ transport: 'udp' }, 'transport must be tcp or ipc'],
    [{ signature_scheme: 'hmac-md5' }, 'signature_scheme must be hmac-sha256'],
    [{ key: 5 }, 'key must be a string'],
  ])('with %j is refused by name', (changes, message) => {
    expect(() => parse(changes)).toThrow(message);
  });

  it('that is not JSON, no object or not there is refused', () => {
    expect(() => parseConnection('{', 'f.json')).toThrow('f.json is not JSON');
    expect(() => parseConnection('[]', 'f.json')).toThrow('must hold a JSON object');
    expect(() => readConnectionFile('/no/such/file')).toThrow('cannot read the connection file');
  });
});
