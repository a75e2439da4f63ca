/** @file The connection file a Jupyter server hands to a kernel: read and checked. No sockets. */

import { readFileSync } from 'node:fs';

/** Ports, transport and key of the five channels. */
export interface ConnectionInfo {
  readonly transport: 'tcp' | 'ipc';
  readonly ip: string;
  readonly shellPort: number;
  readonly controlPort: number;
  readonly stdinPort: number;
  readonly iopubPort: number;
  readonly heartbeatPort: number;
  readonly key: string;
}

/** Channels in the order in which they are bound. */
export type Channel = 'shell' | 'control' | 'stdin' | 'iopub' | 'heartbeat';

/**
 * Reads a connection file.
 * @throws Error that names the file and the field that is wrong.
 */
export function readConnectionFile(path: string): ConnectionInfo {
  let text: string;
  try {
    text = readFileSync(path, 'utf8');
  } catch (error) {
    throw new Error(`cannot read the connection file ${path}; Jupyter passes it as an argument`, {
      cause: error,
    });
  }
  return parseConnection(text, path);
}

/** Parses the JSON of a connection file; `source` names it in errors. */
export function parseConnection(text: string, source: string): ConnectionInfo {
  const fields = parseFields(text, source);
  const port = (name: string): number => {
    const value = fields[name];
    if (typeof value === 'number' && Number.isInteger(value) && value >= 0 && value <= 65_535) {
      return value;
    }
    throw new Error(`${source}: ${name} must be a port number, found ${JSON.stringify(value)}`);
  };
  const text_ = (name: string, fallback?: string): string => {
    const value = fields[name] ?? fallback;
    if (typeof value === 'string') return value;
    throw new Error(`${source}: ${name} must be a string, found ${JSON.stringify(value)}`);
  };
  const transport = text_('transport', 'tcp');
  if (transport !== 'tcp' && transport !== 'ipc') {
    throw new Error(`${source}: transport must be tcp or ipc, found ${transport}`);
  }
  const scheme = text_('signature_scheme', 'hmac-sha256');
  const key = text_('key', '');
  if (key !== '' && scheme !== 'hmac-sha256') {
    throw new Error(`${source}: signature_scheme must be hmac-sha256, found ${scheme}`);
  }
  return {
    transport,
    key,
    ip: text_('ip', '127.0.0.1'),
    shellPort: port('shell_port'),
    controlPort: port('control_port'),
    stdinPort: port('stdin_port'),
    iopubPort: port('iopub_port'),
    heartbeatPort: port('hb_port'),
  };
}

/** ZeroMQ endpoint of one channel; with ipc, `ip` is a path prefix as in jupyter_client. */
export function endpointOf(connection: ConnectionInfo, channel: Channel): string {
  const port = {
    shell: connection.shellPort,
    control: connection.controlPort,
    stdin: connection.stdinPort,
    iopub: connection.iopubPort,
    heartbeat: connection.heartbeatPort,
  }[channel];
  return connection.transport === 'tcp'
    ? `tcp://${connection.ip}:${port}`
    : `ipc://${connection.ip}-${port}`;
}

function parseFields(text: string, source: string): Record<string, unknown> {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw new Error(`${source} is not JSON`, { cause: error });
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw new Error(`${source} must hold a JSON object`);
  }
  return value as Record<string, unknown>;
}
