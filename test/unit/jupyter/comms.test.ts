/** @file Comms: open, message and close in both directions, bounds, and handlers that throw. */

import { CommManager } from '../../../kernel/src/jupyter/comms.js';
import type { Comm, OutgoingComm } from '../../../kernel/src/jupyter/comms.js';

function setUp(maxOpenComms = 2): {
  manager: CommManager;
  sent: OutgoingComm[];
  errors: string[];
  opened: Comm[];
} {
  const sent: OutgoingComm[] = [];
  const errors: string[] = [];
  const opened: Comm[] = [];
  const manager = new CommManager({
    send: (message) => sent.push(message),
    onError: (context) => errors.push(context),
    maxOpenComms,
  });
  manager.registerTarget('t', { onOpen: (comm) => opened.push(comm) });
  return { manager, sent, errors, opened };
}

describe('CommManager', () => {
  it('carries data and buffers both ways', () => {
    const { manager, sent, opened } = setUp();
    manager.handleOpen({ comm_id: '1', target_name: 't', data: { hello: 1 } }, []);
    const received: unknown[] = [];
    opened[0]!.onMessage = (data, buffers) => received.push(data, buffers);
    const bytes = new Uint8Array([1, 2, 3]);
    manager.handleMessage({ comm_id: '1', data: { a: 1 } }, [bytes]);
    opened[0]!.send({ b: 2 }, [bytes]);
    expect(received).toEqual([{ a: 1 }, [bytes]]);
    expect(sent).toEqual([
      { msgType: 'comm_msg', content: { comm_id: '1', data: { b: 2 } }, buffers: [bytes] },
    ]);
  });

  it('opens comms of its own', () => {
    const { manager, sent } = setUp();
    const comm = manager.open('front', { x: 1 });
    expect(sent[0]).toMatchObject({
      msgType: 'comm_open',
      content: { comm_id: comm.id, target_name: 'front', data: { x: 1 } },
    });
    expect(manager.info('front')).toEqual({ [comm.id]: { target_name: 'front' } });
    expect(manager.info('t')).toEqual({});
  });

  it.each([
    ['an unknown target', { comm_id: '9', target_name: 'nope' }],
    ['an id in use', { comm_id: '1', target_name: 't' }],
  ])('answers %s with comm_close', (_, content) => {
    const { manager, sent } = setUp();
    manager.handleOpen({ comm_id: '1', target_name: 't' }, []);
    manager.handleOpen(content, []);
    expect(sent).toMatchObject([{ msgType: 'comm_close', content: { comm_id: content.comm_id } }]);
  });

  it('refuses more comms than its bound', () => {
    const { manager, sent, opened } = setUp(2);
    for (const id of ['1', '2', '3']) manager.handleOpen({ comm_id: id, target_name: 't' }, []);
    expect(opened).toHaveLength(2);
    expect(sent).toMatchObject([{ msgType: 'comm_close', content: { comm_id: '3' } }]);
  });

  it('tells the handler of a close once, and sends nothing afterwards', () => {
    const { manager, sent, opened } = setUp();
    manager.handleOpen({ comm_id: '1', target_name: 't' }, []);
    let closes = 0;
    opened[0]!.onClose = () => closes++;
    manager.handleClose({ comm_id: '1' });
    manager.handleClose({ comm_id: '1' });
    opened[0]!.send({ late: true });
    expect([closes, sent]).toEqual([1, []]);
  });

  it('closes from its own side without calling onClose', () => {
    const { manager, sent, opened } = setUp();
    manager.handleOpen({ comm_id: '1', target_name: 't' }, []);
    opened[0]!.onClose = () => {
      throw new Error('must not be called');
    };
    opened[0]!.close({ bye: 1 });
    expect(sent).toMatchObject([{ msgType: 'comm_close' }]);
    expect(manager.info()).toEqual({});
  });

  it('survives handlers that throw', () => {
    const { manager, sent, errors, opened } = setUp();
    manager.registerTarget('bad', {
      onOpen: () => {
        throw new Error('no');
      },
    });
    manager.handleOpen({ comm_id: 'b', target_name: 'bad' }, []);
    manager.handleOpen({ comm_id: '1', target_name: 't' }, []);
    opened[0]!.onMessage = () => {
      throw new Error('no');
    };
    manager.handleMessage({ comm_id: '1' }, []);
    expect(errors).toHaveLength(2);
    expect(sent).toMatchObject([{ msgType: 'comm_close', content: { comm_id: 'b' } }]);
  });

  it('ignores messages that make no sense', () => {
    const { manager, sent, opened } = setUp();
    manager.handleOpen({ comm_id: 5, target_name: 't' }, []);
    manager.handleMessage({ comm_id: 'unknown', data: {} }, []);
    manager.handleMessage({}, []);
    manager.handleClose({});
    expect([sent, opened]).toEqual([[], []]);
  });

  it('registers a target once', () => {
    const { manager } = setUp();
    expect(() => manager.registerTarget('t', { onOpen: () => undefined })).toThrow(
      'already registered',
    );
  });

  it('closes everything at shutdown', () => {
    const { manager, opened } = setUp();
    manager.handleOpen({ comm_id: '1', target_name: 't' }, []);
    const reasons: unknown[] = [];
    opened[0]!.onClose = (data) => reasons.push(data);
    manager.closeAll();
    expect(reasons).toEqual([{ reason: 'kernel shutdown' }]);
    expect(manager.info()).toEqual({});
  });
});
