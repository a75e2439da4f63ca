/** @file Between a party and its node, for tests: passes JSON-RPC on, and loses, delays or falsifies what a test names. */
import { createServer } from 'node:http';
import type { Server } from 'node:http';
import type { AddressInfo } from 'node:net';

export interface Meddling {
  /** Requests of these methods are cut off without an answer. */
  readonly lost?: ReadonlySet<string>;
  /** What the node is asked instead. */
  readonly asks?: (method: string, params: readonly unknown[]) => readonly unknown[];
  /** What is answered instead. */
  readonly answers?: (method: string, result: unknown, params: readonly unknown[]) => unknown;
}

interface Question {
  readonly id: number;
  readonly method: string;
  readonly params: readonly unknown[];
}

export class NodeProxy {
  readonly url: string;
  /** The node behind it. */
  target: string;
  /** Nothing is changed until a test says so. */
  meddling: Meddling = {};
  private readonly server: Server;

  private constructor(server: Server, target: string) {
    this.server = server;
    this.target = target;
    this.url = `http://127.0.0.1:${String((server.address() as AddressInfo).port)}`;
  }

  static async start(target: string): Promise<NodeProxy> {
    const server = createServer((request, response) => {
      const chunks: Buffer[] = [];
      request.on('data', (chunk: Buffer) => chunks.push(chunk));
      request.on('end', () => {
        const question = JSON.parse(Buffer.concat(chunks).toString()) as Question;
        proxy.answer(question).then(
          (text) => (text === null ? response.destroy() : response.end(text)),
          () => response.destroy(),
        );
      });
    });
    await new Promise<void>((listening) => server.listen(0, '127.0.0.1', listening));
    const proxy = new NodeProxy(server, target);
    return proxy;
  }

  stop(): void {
    this.server.closeAllConnections();
    this.server.close();
  }

  private async answer({ id, method, params }: Question): Promise<string | null> {
    const { lost, asks, answers } = this.meddling;
    if (lost?.has(method) === true) return null;
    const asked = asks?.(method, params) ?? params;
    const body = JSON.stringify({ jsonrpc: '2.0', id, method, params: asked });
    const headers = { 'content-type': 'application/json' };
    const response = await fetch(this.target, { method: 'POST', headers, body });
    const text = await response.text();
    if (answers === undefined) return text;
    const told = JSON.parse(text) as { readonly result?: unknown };
    if (told.result === undefined) return text;
    return JSON.stringify({ ...told, result: answers(method, told.result, asked) });
  }
}
