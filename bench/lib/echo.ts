/** @file The baseline of dispatch: a bare ZeroMQ DEALER and a ROUTER in another process that sends back what it gets. */
import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import * as zmq from 'zeromq';

const SOCKET = {
  linger: 0,
  sendTimeout: 0,
  sendHighWaterMark: 0,
  receiveHighWaterMark: 0,
} as const;

const SERVER = `
import * as zmq from 'zeromq';
const router = new zmq.Router(${JSON.stringify({ ...SOCKET, mandatory: true })});
await router.bind(process.argv[1]);
process.stdin.on('end', () => process.exit(0)).resume();
process.stdout.write('ready\\n');
for await (const frames of router) router.send(frames).catch(() => undefined);
`;

export interface Echo {
  /** Sends frames and waits for them to come back. */
  roundTrip(frames: readonly Uint8Array[]): Promise<void>;
  close(): void;
}

export async function startEcho(): Promise<Echo> {
  const folder = mkdtempSync(join(tmpdir(), 'ravenlab-echo-'));
  const endpoint = `ipc://${join(folder, 'echo.sock')}`;
  const server = spawn(process.execPath, ['--input-type=module', '-e', SERVER, endpoint], {
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  await new Promise((resolve) => server.stdout.once('data', resolve));
  const dealer = new zmq.Dealer(SOCKET);
  dealer.connect(endpoint);
  return {
    roundTrip: async (frames) => {
      await dealer.send([...frames]);
      await dealer.receive();
    },
    close: () => {
      dealer.close();
      server.stdin.end();
      rmSync(folder, { recursive: true, force: true });
    },
  };
}
