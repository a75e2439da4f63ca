/** @file An engine's port and a worker's link over a real unix socket: bulk, order, the end of either side. */
import { existsSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { SocketPort } from '../../kernel/src/engine/socketPort.js';
import type { Peer, PortHandlers } from '../../kernel/src/engine/transport.js';
import { LocalLink } from '../../worker/src/net/localLink.js';
import { until } from './lib/engineUnderTest.js';

const MIB = 1 << 20;
const MESSAGES = 20;
const folder = mkdtempSync(join(tmpdir(), 'ravenlab-link-'));
const path = join(folder, 'workers.sock');

/** Events of both sides in the order in which they came; `next` waits for one. */
class Story {
  private readonly events: string[] = [];
  private wake: (() => void) | null = null;

  tell(event: string): void {
    this.events.push(event);
    this.wake?.();
  }

  async next(): Promise<string> {
    while (this.events.length === 0) await new Promise<void>((wake) => (this.wake = wake));
    return this.events.shift() ?? '';
  }
}

const textOf = (frames: readonly Uint8Array[]): string =>
  frames.map((frame) => Buffer.from(frame).toString()).join('|');

class Engine implements PortHandlers {
  readonly story = new Story();
  /** Where each frame of bulk has its mark, message by message. */
  readonly marks: number[][] = [];
  peer: Peer | null = null;

  onOpen(peer: Peer): void {
    this.peer = peer;
    this.story.tell(`open ${peer.key} ${peer.origin}`);
  }
  onMessage(_peer: Peer, frames: Uint8Array[]): void {
    if (frames.length === 1) this.story.tell(textOf(frames));
    else {
      const [number = 0] = frames[0] ?? [];
      this.marks.push(
        frames.map(({ buffer, byteOffset, byteLength }) =>
          Buffer.from(buffer, byteOffset, byteLength).indexOf(number),
        ),
      );
      if (number === MESSAGES) this.story.tell('bulk is there');
    }
  }
  onClose(peer: Peer, error: Error | null = null): void {
    this.story.tell(`close ${peer.key} ${error?.message ?? 'in order'}`);
  }
  onError(error: Error): void {
    this.story.tell(`error ${error.message}`);
  }
}

function linkTo(story: Story, onMessage = (_text: string): void => undefined): LocalLink {
  return new LocalLink(`unix://${path}`, {
    up: () => story.tell('up'),
    down: () => story.tell('down'),
    message: (frames) => onMessage(textOf(frames)),
    refused: (error) => story.tell(`refused ${error.message}`),
    failed: (error) => story.tell(`failed ${error.message}`),
  });
}

afterAll(() => {
  rmSync(folder, { recursive: true, force: true });
});

test('a worker that comes before its engine joins it, and joins the next one when that ends', async () => {
  const story = new Story();
  const heard: string[] = [];
  const link = linkTo(story, (text) => heard.push(text));
  link.send([Buffer.from('to nobody')]);
  link.open();
  for (const life of ['first', 'second']) {
    const engine = new Engine();
    const port = new SocketPort(engine);
    await port.listen(path);
    expect(await engine.story.next()).toBe('open local:1 local');
    expect(await story.next()).toBe('up');
    expect(engine.peer?.send([Buffer.from(life), Buffer.from('welcome')])).toBe(true);
    link.send([Buffer.from('thanks')]);
    expect(await engine.story.next()).toBe('thanks');
    port.close();
    expect(await story.next()).toBe('down');
    expect(engine.peer?.send([Buffer.from('too late')])).toBe(false);
  }
  expect(heard).toEqual(['first|welcome', 'second|welcome']);
  await link.close();
});

test('60 MiB go up in order, and what was said last is heard before the end', async () => {
  const ours = /^ravenlab-[0-9a-f]{8}$/;
  const before = new Set(existsSync('/dev/shm') ? readdirSync('/dev/shm') : []);
  const engine = new Engine();
  const port = new SocketPort(engine);
  await port.listen(path);
  const story = new Story();
  const link = linkTo(story);
  link.open();
  expect(await story.next()).toBe('up');
  expect(await engine.story.next()).toMatch(/^open/);
  for (let number = 1; number <= MESSAGES; number++) {
    const bytes = new Uint8Array(new SharedArrayBuffer(MIB));
    bytes[number * 1000] = number;
    link.send([Uint8Array.of(number), bytes, bytes, bytes]);
  }
  // By now the engine has found the memory that the worker lends, and nobody else ever will.
  if (existsSync('/dev/shm')) {
    await until('the room in it', () => link.send([Uint8Array.of(0), new Uint8Array(MIB)]));
    expect(readdirSync('/dev/shm').filter((name) => ours.test(name) && !before.has(name))).toEqual(
      [],
    );
  }
  expect(await engine.story.next()).toBe('bulk is there');
  const expected = Array.from({ length: MESSAGES }, (_, i) => (i + 1) * 1000);
  expect(engine.marks.filter(({ length }) => length === 4)).toEqual(
    expected.map((mark) => [0, mark, mark, mark]),
  );
  link.send([Buffer.from('goodbye')]);
  const closed = link.close();
  expect(await engine.story.next()).toBe('goodbye');
  expect(await engine.story.next()).toBe('close local:1 in order');
  await closed;
  port.close();
});
