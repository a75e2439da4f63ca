/** @file The output router under a clock of ours: order, merging, rates, and that nothing is lost. */

import { KERNEL_LIMITS } from '@ravenlab/protocol';
import { OutputRouter } from '../../../kernel/src/jupyter/outputRouter.js';
import type { IopubMessage } from '../../../kernel/src/jupyter/outputRouter.js';

class ManualClock {
  now = 0;
  private timers: { atMs: number; callback: () => void }[] = [];

  nowMs(): number {
    return this.now;
  }

  after(delayMs: number, callback: () => void): () => void {
    const timer = { atMs: this.now + delayMs, callback };
    this.timers.push(timer);
    return () => (this.timers = this.timers.filter((one) => one !== timer));
  }

  advance(ms: number): void {
    const endMs = this.now + ms;
    for (;;) {
      const due = this.timers.filter((one) => one.atMs <= endMs).sort((a, b) => a.atMs - b.atMs)[0];
      if (!due) break;
      this.timers = this.timers.filter((one) => one !== due);
      this.now = Math.max(this.now, due.atMs);
      due.callback();
    }
    this.now = endMs;
  }

  get pending(): number {
    return this.timers.length;
  }
}

function setUp(): {
  clock: ManualClock;
  router: OutputRouter<number, string>;
  sent: { parent: string; message: IopubMessage; atMs: number }[];
  released: () => number;
} {
  const clock = new ManualClock();
  const sent: { parent: string; message: IopubMessage; atMs: number }[] = [];
  let released = 0;
  const router = new OutputRouter<number, string>({
    clock,
    publish: (parent, message) => sent.push({ parent, message, atMs: clock.now }),
    onReleased: (sizeBytes) => (released += sizeBytes),
  });
  router.open(1, 'cell 1');
  return { clock, router, sent, released: () => released };
}

const display = (text: string, type = 'display_data'): IopubMessage => ({
  msgType: type,
  content: { data: { 'text/plain': text } },
});
const texts = (sent: readonly { message: IopubMessage }[]): unknown[] =>
  sent.map(({ message }) => message.content['text'] ?? message.msgType);

describe('OutputRouter', () => {
  it('merges stream text of 20 ms into one message', () => {
    const { clock, router, sent } = setUp();
    router.stream(1, 'stdout', 'a', 1);
    clock.advance(10);
    router.stream(1, 'stdout', 'b', 1);
    expect(sent).toEqual([]);
    clock.advance(10);
    expect(texts(sent)).toEqual(['ab']);
    expect(clock.pending).toBe(0);
  });

  it('sends a large stream at once', () => {
    const { router, sent } = setUp();
    router.stream(1, 'stdout', 'x'.repeat(KERNEL_LIMITS.streamMergeChars), 1);
    expect(sent).toHaveLength(1);
  });

  it('keeps the order of streams and other messages', () => {
    const { clock, router, sent } = setUp();
    router.stream(1, 'stdout', 'a', 1);
    router.stream(1, 'stderr', 'b', 1);
    router.message(1, display('c'));
    router.stream(1, 'stdout', 'd', 1);
    clock.advance(20);
    expect(texts(sent)).toEqual(['a', 'b', 'display_data', 'd']);
  });

  it('never exceeds its rate, and loses nothing', () => {
    const { clock, router, sent } = setUp();
    for (let i = 0; i < 500; i++) router.message(1, display(String(i)));
    clock.advance(60_000);
    expect(sent.map(({ message }) => message.content)).toEqual(
      Array.from({ length: 500 }, (_, i) => ({ data: { 'text/plain': String(i) } })),
    );
    for (let second = 0; second * 1000 < (sent.at(-1)?.atMs ?? 0); second++) {
      const inSecond = sent.filter(({ atMs }) => Math.floor(atMs / 1000) === second);
      expect(inSecond.length).toBeLessThan(200);
    }
  });

  it('keeps only the newest update of a display that waits', () => {
    const { clock, router, sent } = setUp();
    for (let i = 0; i < KERNEL_LIMITS.iopubBurst; i++) router.message(1, display('burst'));
    for (const text of ['1', '2', '3']) {
      router.message(1, display(text, 'update_display_data'), { displayId: 'bar' });
    }
    clock.advance(1000);
    expect(sent.slice(KERNEL_LIMITS.iopubBurst).map(({ message }) => message)).toEqual([
      display('3', 'update_display_data'),
    ]);
  });

  it('does not let an update overtake the clearing of the output', () => {
    const { clock, router, sent } = setUp();
    for (let i = 0; i < KERNEL_LIMITS.iopubBurst; i++) router.message(1, display('burst'));
    router.message(1, display('1'), { displayId: 'bar' });
    router.message(1, { msgType: 'clear_output', content: { wait: false } });
    router.message(1, display('2', 'update_display_data'), { displayId: 'bar' });
    clock.advance(1000);
    expect(texts(sent.slice(KERNEL_LIMITS.iopubBurst))).toEqual([
      ...['display_data', 'clear_output', 'update_display_data'],
    ]);
  });

  it('calls back when a cell is empty, and not before', () => {
    const { clock, router, sent } = setUp();
    for (let i = 0; i < KERNEL_LIMITS.iopubBurst + 3; i++) router.message(1, display(String(i)));
    let sentWhenEmpty = 0;
    router.whenEmpty(1, () => (sentWhenEmpty = sent.length));
    expect(sentWhenEmpty).toBe(0);
    clock.advance(1000);
    expect(sentWhenEmpty).toBe(KERNEL_LIMITS.iopubBurst + 3);
  });

  it('flushes what waits to be merged as soon as emptiness is asked for', () => {
    const { router, sent } = setUp();
    router.stream(1, 'stdout', 'tail', 1);
    let wasCalled = false;
    router.whenEmpty(1, () => (wasCalled = true));
    expect([texts(sent), wasCalled]).toEqual([['tail'], true]);
  });

  it('gives late output to the cell that made it, and orphans to the newest', () => {
    const { clock, router, sent } = setUp();
    router.open(2, 'cell 2');
    router.stream(1, 'stdout', 'late', 1);
    router.stream(null, 'stdout', 'orphan', 1);
    clock.advance(20);
    expect(sent.map(({ parent }) => parent)).toEqual(['cell 1', 'cell 2']);
  });

  it('releases exactly what was charged', () => {
    const { clock, router, released } = setUp();
    router.stream(1, 'stdout', 'a', 10);
    router.message(1, display('b'), { sizeBytes: 5 });
    for (let i = 0; i < 100; i++) {
      router.message(1, display('u', 'update_display_data'), { displayId: 'x', sizeBytes: 1 });
    }
    clock.advance(10_000);
    expect(released()).toBe(115);
  });

  it('remembers a bounded number of cells', () => {
    const { clock, router, sent } = setUp();
    for (let key = 2; key < KERNEL_LIMITS.rememberedCells + 10; key++)
      router.open(key, `cell ${key}`);
    router.stream(1, 'stdout', 'from a forgotten cell', 1);
    clock.advance(20);
    expect(sent[0]?.parent).toBe(`cell ${KERNEL_LIMITS.rememberedCells + 9}`);
  });

  it('lets everything out at the end, over any rate', () => {
    const { router, sent } = setUp();
    for (let i = 0; i < 1000; i++) router.message(1, display(String(i)));
    router.flushAll();
    expect(sent).toHaveLength(1000);
  });
});
