/** @file What a worker is sent while a state is being written: all but that state, which follows when it is there. */
import type { ExecutionId, HelloMessage, StateId, StateVersion } from '@ravenlab/protocol';
import { decodeEngineMessage } from '@ravenlab/protocol';
import { Resources } from '../../../kernel/src/engine/resources.js';
import { WorkerSession } from '../../../kernel/src/engine/session.js';
import type { Peer } from '../../../kernel/src/engine/transport.js';

const BYTES = Uint8Array.of(1, 2, 3, 4);

function scene() {
  const said: string[] = [];
  const send = (frames: readonly Uint8Array[]): boolean => {
    const decoded = decodeEngineMessage(frames);
    said.push(decoded.ok ? decoded.value.kind : 'broken');
    return true;
  };
  const resources = new Resources();
  const hello = { workerId: 'a'.repeat(64) } as HelloMessage;
  const session = new WorkerSession({ send } as unknown as Peer, hello, resources);
  let isPromised = true;
  const ref = { stateId: 1 as StateId, version: 2 as StateVersion };
  const pin = () => () => undefined;
  const body = {
    kind: 'state',
    ref,
    bytes: () => BYTES,
    pin,
    isPromised: () => isPromised,
  } as const;
  const { id } = resources.add(body, BYTES.byteLength);
  const write = (): void => {
    isPromised = false;
    session.resume();
  };
  return { session, said, resources, id, write };
}

test('only the state waits until it is written: what it is made from may come after it', () => {
  const { session, said, id, write } = scene();
  session.provide([id]);
  session.cancel([1 as ExecutionId], []);
  session.provide([id]);
  expect(said).toEqual(['cancel']);
  session.resume();
  expect(said).toEqual(['cancel']);
  write();
  session.resume();
  expect(said).toEqual(['cancel', 'blob']);
});

test('a state that nobody wants any more when it is written, or that never is, is not sent', () => {
  const { session, said, id, write } = scene();
  session.provide([id]);
  session.drop([id]);
  write();
  expect(said).toEqual(['drop']);

  const withdrawn = scene();
  withdrawn.session.provide([withdrawn.id]);
  withdrawn.resources.remove(withdrawn.id);
  withdrawn.write();
  expect(withdrawn.said).toEqual([]);
});
