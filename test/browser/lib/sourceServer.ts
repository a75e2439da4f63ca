/** @file Serves the project's sources to a page as the ES modules that they are, types stripped; on 127.0.0.1, for one test. */
import { existsSync, readFileSync } from 'node:fs';
import type { Server } from 'node:http';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { extname, join, normalize, resolve, sep } from 'node:path';
import { transformSync } from '@swc/core';

const ROOT = resolve(__dirname, '..', '..', '..');
/** What a page may read: sources, and the packages that these import. */
const SERVED = [
  'protocol/src',
  'worker/src',
  'test/conformance/lib',
  'node_modules/onnxruntime-web/dist',
  'node_modules/msgpackr',
];
const TYPES: Readonly<Record<string, string>> = {
  '.js': 'text/javascript',
  '.mjs': 'text/javascript',
  '.wasm': 'application/wasm',
};

/** Names of packages as paths of this server; the text of an import map. */
const IMPORTS = JSON.stringify({
  imports: {
    '@ravenlab/protocol': '/protocol/src/index.js',
    msgpackr: '/node_modules/msgpackr/index.js',
    'onnxruntime-web/ort-wasm-simd-threaded.mjs':
      '/node_modules/onnxruntime-web/dist/ort-wasm-simd-threaded.mjs',
  },
});
const PAGE = `<!doctype html><title>modules</title><script type="importmap">${IMPORTS}</script>`;

/** Memory that threads share, as ONNX Runtime's is, is only for pages that are isolated. */
const HEADERS = {
  'cross-origin-opener-policy': 'same-origin',
  'cross-origin-embedder-policy': 'require-corp',
};

export interface SourceServer {
  readonly url: string;
  close(): void;
}

export async function serveSources(): Promise<SourceServer> {
  const server = createServer((request, response) => {
    const { pathname } = new URL(request.url ?? '/', 'http://localhost');
    const found = pathname === '/' ? { type: 'text/html', body: PAGE } : read(pathname);
    response.writeHead(found === null ? 404 : 200, {
      ...HEADERS,
      'content-type': found?.type ?? 'text/plain',
    });
    response.end(found?.body ?? `${pathname} is not served`);
  });
  await listen(server);
  const { port } = server.address() as AddressInfo;
  return { url: `http://127.0.0.1:${port}/`, close: () => server.close() };
}

function listen(server: Server): Promise<void> {
  return new Promise((done, failed) => {
    server.once('error', failed);
    server.listen(0, '127.0.0.1', done);
  });
}

function read(pathname: string): { readonly type: string; readonly body: string | Buffer } | null {
  const file = join(ROOT, normalize(pathname));
  if (!SERVED.some((folder) => file.startsWith(join(ROOT, folder) + sep))) return null;
  const type = TYPES[extname(file)];
  if (type === undefined) return null;
  const source = file.replace(/\.js$/, '.ts');
  if (source !== file && existsSync(source)) return { type, body: stripped(source) };
  return existsSync(file) ? { type, body: readFileSync(file) } : null;
}

function stripped(file: string): string {
  return transformSync(readFileSync(file, 'utf8'), {
    filename: file,
    module: { type: 'es6' },
    jsc: { target: 'es2022', parser: { syntax: 'typescript' } },
    swcrc: false,
  }).code;
}
