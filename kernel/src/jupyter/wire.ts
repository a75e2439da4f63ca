/**
 * @file Jupyter messages as frames: parse, verify, sign. No sockets, no dispatch.
 * Follows the Jupyter messaging protocol 5.5, "The wire protocol".
 */

import { createHmac, randomUUID, timingSafeEqual } from 'node:crypto';
import { KERNEL_LIMITS } from '@ravenlab/protocol';

export type JsonObject = Record<string, unknown>;

/** Header of a message; unknown fields are kept because a reply echoes its parent's header whole. */
export interface MessageHeader extends JsonObject {
  readonly msg_id: string;
  readonly msg_type: string;
}

/** A verified message from a front end. */
export interface IncomingMessage {
  /** Routing identities of the ROUTER socket, first hop first. */
  readonly identities: readonly Uint8Array[];
  readonly header: MessageHeader;
  readonly parentHeader: JsonObject;
  readonly metadata: JsonObject;
  readonly content: JsonObject;
  readonly buffers: readonly Uint8Array[];
}

/** A message to send; header fields other than the type are filled in by the codec. */
export interface OutgoingMessage {
  readonly msgType: string;
  /** Routing identities of the peer, or the topic on IOPub. */
  readonly identities: readonly (Uint8Array | string)[];
  readonly parentHeader: JsonObject;
  readonly content: JsonObject;
  readonly metadata?: JsonObject;
  readonly buffers?: readonly Uint8Array[];
}

export type DecodeResult =
  | { readonly ok: true; readonly message: IncomingMessage }
  | { readonly ok: false; readonly reason: string };

/** Protocol version of every header that we send. */
export const PROTOCOL_VERSION = '5.5';

const DELIMITER = Buffer.from('<IDS|MSG>');
/** Signature, header, parent header, metadata, content. */
const FIXED_FRAMES = 5;

/** Identity of this kernel session and how it signs. */
export interface CodecOptions {
  /** HMAC-SHA256 key; empty means unsigned, as the connection file asks. */
  readonly key: string;
  readonly sessionId: string;
  readonly username: string;
  /** Integer ms since the Unix epoch. */
  readonly nowMs: () => number;
}

/** Turns frames into messages and back. */
export class MessageCodec {
  private readonly options: CodecOptions;

  constructor(options: CodecOptions) {
    this.options = options;
  }

  /** Verifies and parses; a message that breaks a bound, the signature or the format is a value, not a throw. */
  decode(frames: readonly Uint8Array[]): DecodeResult {
    if (frames.length > KERNEL_LIMITS.messageFrames) {
      return fail(`${frames.length} frames, at most ${KERNEL_LIMITS.messageFrames} are accepted`);
    }
    const delimiterAt = frames.findIndex((frame) => DELIMITER.equals(frame));
    if (delimiterAt < 0) return fail('no <IDS|MSG> delimiter');
    const body = frames.slice(delimiterAt + 1);
    const [signature, header, parentHeader, metadata, content] = body;
    if (!signature || !header || !parentHeader || !metadata || !content) {
      return fail(`${body.length} frames after the delimiter, at least ${FIXED_FRAMES} expected`);
    }
    const parts = [header, parentHeader, metadata, content];
    if (parts.some((part) => part.byteLength > KERNEL_LIMITS.jsonFrameBytes)) {
      return fail(`a JSON frame is larger than ${KERNEL_LIMITS.jsonFrameBytes} bytes`);
    }
    if (!this.isSignedBy(signature, parts)) return fail('the HMAC signature does not match');
    return parseParts(frames.slice(0, delimiterAt), parts, body.slice(FIXED_FRAMES));
  }

  /** Frames of a signed message, ready for one multipart send. */
  encode(message: OutgoingMessage): (Uint8Array | string)[] {
    const header = {
      msg_id: randomUUID(),
      session: this.options.sessionId,
      username: this.options.username,
      date: new Date(this.options.nowMs()).toISOString(),
      msg_type: message.msgType,
      version: PROTOCOL_VERSION,
    };
    const parts = [header, message.parentHeader, message.metadata ?? {}, message.content].map(
      (part) => Buffer.from(JSON.stringify(part)),
    );
    const signature = this.sign(parts);
    return [...message.identities, DELIMITER, signature, ...parts, ...(message.buffers ?? [])];
  }

  private sign(parts: readonly Uint8Array[]): string {
    if (this.options.key === '') return '';
    const hmac = createHmac('sha256', this.options.key);
    for (const part of parts) hmac.update(part);
    return hmac.digest('hex');
  }

  private isSignedBy(signature: Uint8Array, parts: readonly Uint8Array[]): boolean {
    if (this.options.key === '') return true;
    const expected = Buffer.from(this.sign(parts));
    return expected.byteLength === signature.byteLength && timingSafeEqual(expected, signature);
  }
}

function parseParts(
  identities: readonly Uint8Array[],
  parts: readonly Uint8Array[],
  buffers: readonly Uint8Array[],
): DecodeResult {
  const objects: JsonObject[] = [];
  for (const part of parts) {
    const value = parseObject(part);
    if (!value) return fail('a frame that must hold a JSON object does not');
    objects.push(value);
  }
  const [header, parentHeader, metadata, content] = objects;
  if (!header || !parentHeader || !metadata || !content) return fail('a frame is missing');
  if (!isHeader(header)) return fail('the header lacks msg_id or msg_type');
  return {
    ok: true,
    message: { identities, header, parentHeader, metadata, content, buffers },
  };
}

function parseObject(frame: Uint8Array): JsonObject | undefined {
  try {
    const value: unknown = JSON.parse(Buffer.from(frame).toString('utf8'));
    const isObject = typeof value === 'object' && value !== null && !Array.isArray(value);
    return isObject ? (value as JsonObject) : undefined;
  } catch {
    return undefined;
  }
}

function isHeader(header: JsonObject): header is MessageHeader {
  return typeof header['msg_id'] === 'string' && typeof header['msg_type'] === 'string';
}

function fail(reason: string): DecodeResult {
  return { ok: false, reason };
}
