/** @file The Jupyter wire format: what is signed comes back, everything else is refused by value. */

import { createHmac } from 'node:crypto';
import { KERNEL_LIMITS } from '@ravenlab/protocol';
import { MessageCodec } from '../../../kernel/src/jupyter/wire.js';

const KEY = 'a-secret';
const codec = new MessageCodec({ key: KEY, sessionId: 's', username: 'u', nowMs: () => 0 });

const framesOf = (
  parts: readonly string[],
  { key = KEY, buffers = [] as string[] } = {},
): Buffer[] => {
  const hmac = createHmac('sha256', key);
  for (const part of parts) hmac.update(part);
  return ['id1', 'id2', '<IDS|MSG>', hmac.digest('hex'), ...parts, ...buffers].map((frame) =>
    Buffer.from(frame),
  );
};
const HEADER = JSON.stringify({ msg_id: '1', msg_type: 'execute_request', extra: true });

describe('MessageCodec', () => {
  it('decodes a signed message with identities and buffers', () => {
    const decoded = codec.decode(
      framesOf([HEADER, '{}', '{}', '{"code":"1"}'], { buffers: ['raw'] }),
    );
    if (!decoded.ok) throw new Error(decoded.reason);
    expect(decoded.message.identities.map(String)).toEqual(['id1', 'id2']);
    expect(decoded.message.header).toMatchObject({ msg_id: '1', extra: true });
    expect(decoded.message.content).toEqual({ code: '1' });
    expect(decoded.message.buffers.map(String)).toEqual(['raw']);
  });

  it('decodes what it encodes', () => {
    const frames = codec.encode({
      ...{ msgType: 'stream', identities: ['stream'], parentHeader: { msg_id: 'p' } },
      ...{ content: { text: 'ü😀' }, buffers: [new Uint8Array([1, 2])] },
    });
    const decoded = codec.decode(frames.map((frame) => Buffer.from(frame)));
    if (!decoded.ok) throw new Error(decoded.reason);
    expect(decoded.message.header).toMatchObject({
      msg_type: 'stream',
      ...{ session: 's', username: 'u', version: '5.5', date: '1970-01-01T00:00:00.000Z' },
    });
    expect(decoded.message.parentHeader).toEqual({ msg_id: 'p' });
    expect(decoded.message.content).toEqual({ text: 'ü😀' });
    expect([...(decoded.message.buffers[0] ?? [])]).toEqual([1, 2]);
  });

  it.each<readonly [string, Buffer[]]>([
    ['signature', framesOf([HEADER, '{}', '{}', '{}'], { key: 'another' })],
    ['delimiter', [Buffer.from('x')]],
    ['delimiter', []],
    ['frames after the delimiter', framesOf([HEADER, '{}', '{}'])],
    ['JSON object', framesOf(['not json', '{}', '{}', '{}'])],
    ['JSON object', framesOf([HEADER, '[]', '{}', '{}'])],
    ['JSON object', framesOf([HEADER, 'null', '{}', '{}'])],
    ['msg_id', framesOf(['{"msg_type":"x"}', '{}', '{}', '{}'])],
    ['msg_id', framesOf(['{"msg_id":1,"msg_type":"x"}', '{}', '{}', '{}'])],
    ['frames', Array.from({ length: KERNEL_LIMITS.messageFrames + 1 }, () => Buffer.from('x'))],
  ])('refuses a message for its %s', (reason, frames) => {
    const decoded = codec.decode(frames);
    expect(decoded.ok ? '' : decoded.reason).toContain(reason);
  });

  it('refuses a signature of another length without comparing it', () => {
    const frames = framesOf([HEADER, '{}', '{}', '{}']);
    frames[3] = Buffer.from('abc');
    expect(codec.decode(frames)).toMatchObject({ ok: false });
  });

  it('neither signs nor verifies without a key, as the connection file asks', () => {
    const open = new MessageCodec({ key: '', sessionId: 's', username: 'u', nowMs: () => 0 });
    const frames = framesOf([HEADER, '{}', '{}', '{}'], { key: 'whatever' });
    expect(open.decode(frames).ok).toBe(true);
    const encoded = open.encode({ msgType: 'x', identities: [], parentHeader: {}, content: {} });
    expect(String(encoded[1])).toBe('');
  });
});
