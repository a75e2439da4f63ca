/** @file Messages over a stream socket: order, back pressure, the end of a connection. The socket is a pair in memory. */
import { Duplex } from 'node:stream';
import { RemoteProtocolError } from '@ravenlab/protocol';
import { FrameSocket } from '../../../protocol/src/frameSocket.js';
import { WORKER_BOUNDS, encodeNote } from '../../../protocol/src/frameStream.js';

const OPTIONS = {
  bounds: WORKER_BOUNDS,
  memory: 'kept',
  later: (callback: () => void) => {
    process.nextTick(callback);
  },
} as const;

/** One end of a connection; what it writes is handed over when the other end is read. */
class End extends Duplex {
  other: End | null = null;
  writes = 0;
  private unread: { readonly bytes: Buffer; readonly taken: () => void }[] = [];
  private wanted = false;

  override _read(): void {
    this.wanted = true;
    this.deliver();
  }

  override _write(bytes: Buffer, _encoding: string, taken: () => void): void {
    this.writes++;
    this.other?.unread.push({ bytes, taken });
    this.other?.deliver();
  }

  override _writev(chunks: { readonly chunk: Buffer }[], taken: () => void): void {
    this._write(Buffer.concat(chunks.map(({ chunk }) => chunk)), 'buffer', taken);
  }

  override _final(done: () => void): void {
    this.other?.push(null);
    done();
  }

  private deliver(): void {
    const next = this.wanted ? this.unread.shift() : undefined;
    if (next === undefined) return;
    this.wanted = false;
    process.nextTick(next.taken);
    this.push(next.bytes);
  }
}

interface Side {
  readonly end: End;
  readonly socket: FrameSocket;
  readonly messages: string[];
  readonly closed: (Error | null)[];
}

function pair(given: { near?: object; far?: object } = {}): { near: Side; far: Side } {
  const ends = [new End({ allowHalfOpen: false }), new End({ allowHalfOpen: false })] as const;
  [ends[0].other, ends[1].other] = [ends[1], ends[0]];
  const side = (end: End, options = {}): Side => {
    const messages: string[] = [];
    const closed: (Error | null)[] = [];
    const handlers = {
      onMessage: (frames: Uint8Array[]) => {
        messages.push(frames.map((frame) => Buffer.from(frame).toString()).join('|'));
      },
      onClose: (error: Error | null) => closed.push(error),
    };
    const socket = new FrameSocket(end, handlers, { ...OPTIONS, ...options });
    return { end, socket, messages, closed };
  };
  return {
    near: side(ends[0], given.near),
    far: side(ends[1], given.far),
  };
}

const settled = async (): Promise<void> => {
  for (let turn = 0; turn < 20; turn++) await new Promise((resolve) => setImmediate(resolve));
};

test('messages of one turn go in one write and arrive in order', async () => {
  const { near, far } = pair();
  for (let i = 0; i < 100; i++) near.socket.send([Buffer.from(`message ${String(i)}`)]);
  near.socket.send([Buffer.from('a'), Buffer.alloc(0), Buffer.from('c')]);
  await settled();
  expect(far.messages).toEqual([
    ...Array.from({ length: 100 }, (_, i) => `message ${String(i)}`),
    'a||c',
  ]);
  expect(near.end.writes).toBe(1);
});

test('a side whose answers are not read reads nothing more until they are', async () => {
  const { near, far } = pair({ near: { pauseAboveBytes: 50_000 } });
  far.end.pause();
  // What a socket takes although nobody reads.
  near.socket.send([Buffer.alloc(100_000)]);
  await settled();
  near.socket.send([Buffer.alloc(60_000)]);
  far.socket.send([Buffer.from('a request')]);
  await settled();
  expect(near.socket.queuedBytes).toBeGreaterThan(50_000);
  expect(near.messages).toEqual([]);
  far.end.resume();
  await settled();
  expect(near.messages).toEqual(['a request']);
  expect(far.messages.length).toBe(2);
});

test('a stream of another protocol cuts the connection and says why', async () => {
  const { near, far } = pair();
  near.end.write('GET / HTTP/1.1\r\n\r\n');
  await settled();
  expect(far.closed).toEqual([expect.any(RemoteProtocolError)]);
  expect(far.closed[0]?.message).toContain('another protocol');
  expect(far.end.destroyed).toBe(true);
});

test('a connection that ends within a message says so; one that ends between two is in order', async () => {
  const broken = pair();
  broken.near.end.end(Buffer.from('RVK1'));
  const whole = pair();
  whole.near.socket.send([Buffer.from('last words')]);
  await settled();
  whole.near.end.end();
  await settled();
  expect(broken.far.closed[0]?.message).toContain('in the middle of a message');
  expect(whole.far.messages).toEqual(['last words']);
  expect(whole.far.closed).toEqual([null]);
});

test('what is sent after the end goes nowhere and harms nothing', async () => {
  const { near, far } = pair();
  near.socket.close();
  near.socket.send([Buffer.from('too late')]);
  await settled();
  expect(near.closed).toEqual([null]);
  expect(far.messages).toEqual([]);
});

test('whoever closes in the middle of a chunk hears nothing more of it', async () => {
  const { near, far } = pair();
  const heard: number[] = [];
  const closing = new End({ allowHalfOpen: false });
  const onMessage = ([frame]: Uint8Array[]): void => {
    heard.push(frame?.[0] ?? -1);
    socket.close();
  };
  const socket = new FrameSocket(closing, { onMessage, onClose: () => undefined }, OPTIONS);
  near.end.other = closing;
  near.socket.send([Uint8Array.of(1)]);
  near.socket.send([Uint8Array.of(2)]);
  await settled();
  expect(heard).toEqual([1]);
  expect(far.messages).toEqual([]);
});

describe('memory that both sides see', () => {
  const long = Buffer.alloc(100_000, 'x');
  const memory = (isThere: boolean) => {
    const frames = new Map<number, Uint8Array>();
    const freed: number[] = [];
    return {
      freed,
      lends: {
        name: 7,
        write: (frame: Uint8Array) => {
          frames.set(frames.size, Uint8Array.from(frame));
          return frames.size - 1;
        },
        taken: (position: number) => {
          freed.push(position);
        },
      },
      borrows: {
        open: (name: number) => isThere && name === 7,
        read: (position: number, target: Uint8Array) => {
          target.set(frames.get(position) ?? []);
        },
      },
    };
  };

  test('takes long frames once the other side has found it, and they may change at once', async () => {
    const { lends, borrows, freed } = memory(true);
    const { near, far } = pair({ far: { borrows } });
    near.socket.offer(lends);
    expect(near.socket.send([long])).toBe(false);
    await settled();
    expect(freed).toEqual([0]);
    expect(near.socket.send([long])).toBe(true);
    await settled();
    expect(far.messages).toEqual([long.toString(), long.toString()]);
    expect(freed).toEqual([0, long.byteLength]);
  });

  test('is not used where the other side does not find it', async () => {
    const { lends, borrows, freed } = memory(false);
    const { near, far } = pair({ far: { borrows } });
    near.socket.offer(lends);
    await settled();
    expect(near.socket.send([long])).toBe(false);
    await settled();
    expect(far.messages).toEqual([long.toString()]);
    expect(freed).toEqual([]);
  });

  test('is offered to nobody who has not asked for it, nor taken from nobody', async () => {
    const { lends } = memory(true);
    const { near, far } = pair();
    near.socket.offer(lends);
    near.end.write(encodeNote('taken', 0));
    await settled();
    expect(far.closed[0]?.message).toContain('memory that this connection has not');
  });
});
