/** @file `npm start` as a person runs it: it serves on loopback behind a token, and Ctrl-C ends all. */
import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { createServer } from 'node:net';
import type { AddressInfo, Server } from 'node:net';
import { fromRoot } from '../../scripts/lib/paths.mjs';

const READY = /RavenLab is ready \(([\d.]+) s\): (http:\/\/127\.0\.0\.1:(\d+))\/lab\?token=(\w+)/;

function listen(): Promise<Server> {
  const server = createServer();
  return new Promise((resolve) => {
    server.listen(0, '127.0.0.1', () => resolve(server));
  });
}

const portOf = (server: Server): number => (server.address() as AddressInfo).port;
const close = (server: Server): Promise<unknown> => new Promise((resolve) => server.close(resolve));

interface Run {
  readonly child: ChildProcess;
  readonly output: () => string;
  readonly exitCode: Promise<number | null>;
}

function start(...args: string[]): Run {
  const child = spawn(process.execPath, [fromRoot('scripts/start.mjs'), ...args]);
  let text = '';
  child.stdout.on('data', (chunk: Buffer) => (text += chunk.toString()));
  child.stderr.on('data', (chunk: Buffer) => (text += chunk.toString()));
  const exitCode = new Promise<number | null>((resolve) => child.once('exit', resolve));
  return { child, output: () => text, exitCode };
}

describe('npm start', () => {
  it('serves JupyterLab with our kernel as default, and ends on Ctrl-C', async () => {
    const probe = await listen();
    const port = portOf(probe);
    await close(probe);
    const { child, output, exitCode } = start('--no-browser', '--port', String(port));
    try {
      const ready = await new Promise<RegExpExecArray>((resolve, reject) => {
        child.stdout?.on('data', () => {
          const match = READY.exec(output());
          if (match !== null) resolve(match);
        });
        void exitCode.then(() => reject(new Error(`it ended early:\n${output()}`)));
      });
      const [, seconds, address, servedPort, token] = ready;
      expect(Number(servedPort)).toBe(port);
      // Everything is set up already, so this is a second start.
      expect(Number(seconds)).toBeLessThanOrEqual(10);

      expect((await fetch(`${address}/api/kernelspecs`)).status).toBe(403);
      const headers = { authorization: `token ${token}` };
      const specs: unknown = await (await fetch(`${address}/api/kernelspecs`, { headers })).json();
      expect(specs).toMatchObject({
        default: 'ravenlab',
        kernelspecs: {
          ravenlab: {
            spec: {
              display_name: 'TypeScript (RavenLab)',
              language: 'typescript',
              interrupt_mode: 'message',
              argv: [process.execPath, fromRoot('kernel/dist/main.js'), '{connection_file}'],
            },
          },
        },
      });
      const page = await (await fetch(`${address}/lab`, { headers })).text();
      expect(page).toContain('@ravenlab/extension');

      child.kill('SIGINT');
      expect(await exitCode).toBe(0);
      await expect(fetch(`${address}/api`)).rejects.toThrow();
    } finally {
      child.kill('SIGKILL');
    }
  });

  it('says so when the asked port is in use', async () => {
    const taken = await listen();
    const port = portOf(taken);
    const { output, exitCode } = start('--no-browser', '--port', String(port));
    expect(await exitCode).toBe(1);
    await close(taken);
    expect(output()).toContain(`port ${port} of 127.0.0.1 is in use`);
  });

  it('refuses an option it does not know, with its usage', async () => {
    const { output, exitCode } = start('--prot', '9000');
    expect(await exitCode).toBe(1);
    expect(output()).toContain('--port N');
  });
});
