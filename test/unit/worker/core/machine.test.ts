/** @file The lease machine by scenes: what arrives, what is answered, and that nothing is forgotten or done twice. */
import type {
  DataId,
  ExecutionId,
  LeaseId,
  ProgramHash,
  RunInput,
  RunMessage,
  StateId,
  StateVersion,
} from '@ravenlab/protocol';
import { WORKER_LIMITS } from '@ravenlab/protocol';
import type { WorkerEffect, WorkerEvent } from '../../../../worker/src/core/events.js';
import { step } from '../../../../worker/src/core/machine.js';
import type { BlobRef, ProgramEntry, WorkerState } from '../../../../worker/src/core/state.js';
import { checkInvariants, initialState } from '../../../../worker/src/core/state.js';

const BUDGET = 10_000;
const HASH = 'aa' as ProgramHash;

/** Weight float32[4] (16 bytes) and two rows of int32[3] (12 bytes a row). */
const PROGRAM: ProgramEntry = {
  kind: 'known',
  info: {
    hash: HASH,
    inputs: [
      { dtype: 'float32', shape: [4] },
      { dtype: 'int32', shape: [2, 3] },
    ],
    outputs: [{ dtype: 'float32', shape: [4] }],
    peakBytes: 100,
    work: { flops: 1_000, bytes: 100 },
    quickUnits: 0,
  },
};

const stateRef = (id: number, version = 1) => ({
  stateId: id as StateId,
  version: version as StateVersion,
});
const rows = (...indices: number[]): RunInput => ({
  kind: 'rows',
  dataId: 5 as DataId,
  dataRows: 10,
  blockRows: 4,
  perUnit: true,
  indices: Int32Array.from(indices),
});

function run(options: {
  leases: number[];
  inputs?: RunInput[];
  execution?: number;
  program?: number;
}): WorkerEvent {
  const { leases, execution = 1, program = 0 } = options;
  const inputs = options.inputs ?? [
    { kind: 'state', ...stateRef(1) },
    rows(...leases.flatMap(() => [0, 1])),
  ];
  const message: RunMessage = {
    kind: 'run',
    execution: execution as ExecutionId,
    program,
    leaseMs: 1000,
    merge: null,
    inputs,
    units: leases.map((lease, shard) => ({ lease: lease as LeaseId, shard })),
  };
  return { kind: 'run', run: message };
}

/** A machine whose every step is checked. */
class Scene {
  readonly state: WorkerState;

  constructor(budget = BUDGET) {
    this.state = initialState(budget);
  }

  step(event: WorkerEvent): WorkerEffect[] {
    const effects = step(this.state, event);
    checkInvariants(this.state);
    return effects;
  }

  kinds(event: WorkerEvent): string[] {
    return this.step(event).map(({ kind }) => kind);
  }

  program(index = 0, entry = PROGRAM): WorkerEffect[] {
    return this.step({ kind: 'program', index, entry });
  }

  blob(ref: BlobRef, totalBytes: number): WorkerEffect[] {
    return this.step({ kind: 'chunk', ref, offsetBytes: 0, totalBytes, bytes: totalBytes });
  }

  weight(version = 1): WorkerEffect[] {
    return this.blob({ kind: 'state', ...stateRef(1, version) }, 16);
  }

  block(block: number, bytes = 48): WorkerEffect[] {
    return this.blob({ kind: 'block', dataId: 5 as DataId, block }, bytes);
  }

  /** Program, weight and first block. */
  equip(): this {
    this.program();
    this.weight();
    this.block(0);
    return this;
  }
}

describe('a unit', () => {
  test('starts at once when all it needs is here', () => {
    const effects = new Scene().equip().step(run({ leases: [1, 2] }));
    expect(effects).toMatchObject([{ kind: 'start', hash: HASH, batch: { outputBytes: [16] } }]);
  });

  test('asks once for what it lacks, and starts with the last of it', () => {
    const scene = new Scene();
    expect(scene.step(run({ leases: [1] }))).toEqual([
      {
        kind: 'need',
        programs: [0],
        states: [stateRef(1)],
        blocks: [{ dataId: 5, block: 0 }],
      },
    ]);
    expect(scene.kinds(run({ leases: [2] }))).toEqual(['need']);
    expect(scene.weight().map(({ kind }) => kind)).toEqual(['store']);
    expect(scene.block(0).map(({ kind }) => kind)).toEqual(['store']);
    expect(scene.program().map(({ kind }) => kind)).toEqual(['start', 'start']);
  });

  test('does not ask for tensors that another unit has asked for', () => {
    const scene = new Scene();
    scene.program();
    scene.step(run({ leases: [1] }));
    expect(scene.step(run({ leases: [2] }))).toEqual([]);
  });

  test('does not ask for a tensor of which pieces have come', () => {
    const scene = new Scene();
    scene.program();
    scene.block(0);
    const ref = { kind: 'state', ...stateRef(1) } as const;
    scene.step({ kind: 'chunk', ref, offsetBytes: 0, totalBytes: 16, bytes: 8 });
    expect(scene.step(run({ leases: [1] }))).toEqual([]);
    const rest = { kind: 'chunk', ref, offsetBytes: 8, totalBytes: 16, bytes: 8 } as const;
    expect(scene.kinds(rest)).toEqual(['store', 'start']);
  });

  test('is answered once, and only once', () => {
    const scene = new Scene().equip();
    scene.step(run({ leases: [1, 2] }));
    expect(scene.step({ kind: 'computed', batch: 1, units: [0] })).toMatchObject([
      { kind: 'answer', units: [0] },
    ]);
    expect(scene.step({ kind: 'computed', batch: 1, units: [0, 1] })).toMatchObject([
      { kind: 'answer', units: [1] },
    ]);
    expect(scene.step({ kind: 'computed', batch: 1, units: [1] })).toEqual([]);
    expect(scene.state.leases.size).toBe(0);
  });

  test('fails with the program that is none', () => {
    const scene = new Scene().equip();
    const error = { code: 'program', message: 'no', fault: 'remote', retryable: false } as const;
    scene.program(1, { kind: 'refused', error });
    expect(scene.step(run({ leases: [7], program: 1 }))).toMatchObject([
      { kind: 'fail', units: [{ lease: 7, status: 'failed', error }] },
    ]);
  });

  test.each<[string, RunInput[], RegExp]>([
    ['an input too few', [{ kind: 'state', ...stateRef(1) }], /1 inputs, the program takes 2/],
    [
      'rows for the wrong number of units',
      [{ kind: 'state', ...stateRef(1) }, rows(0, 1, 2)],
      /3 row indices, expected 2/,
    ],
    [
      'a value of another shape',
      [
        {
          kind: 'inline',
          type: { dtype: 'float32', shape: [5] },
          perUnit: false,
          values: [[new Uint8Array(20)]],
        },
        rows(0, 1),
      ],
      /float32 \[5\]/,
    ],
    [
      'a key where a weight belongs',
      [{ kind: 'key', seedLow: 1, seedHigh: 2, step: 3 }, rows(0, 1)],
      /RNG key is int32\[4\]/,
    ],
  ])('fails with %s', (_, inputs, reason) => {
    const [effect] = new Scene().equip().step(run({ leases: [1], inputs }));
    expect(effect).toMatchObject({ kind: 'fail', units: [{ error: { code: 'protocol' } }] });
    expect(JSON.stringify(effect)).toMatch(reason);
  });

  test('fails when a tensor has another size than the program says', () => {
    const scene = new Scene();
    scene.program();
    scene.weight();
    scene.block(0, 44);
    const [effect] = scene.step(run({ leases: [1] }));
    expect(JSON.stringify(effect)).toMatch(/block 0 has 44 bytes, expected 48/);
  });

  test('takes the last block with fewer rows', () => {
    const scene = new Scene().equip();
    scene.block(2, 24);
    const inputs: RunInput[] = [{ kind: 'state', ...stateRef(1) }, rows(9, 0)];
    expect(scene.kinds(run({ leases: [1], inputs }))).toEqual(['start']);
  });

  test('is refused when its lease is already held', () => {
    const scene = new Scene().equip();
    scene.step(run({ leases: [1] }));
    expect(scene.step(run({ leases: [2, 1] }))).toMatchObject([
      { kind: 'fail', units: [{ lease: 2 }, { lease: 1 }] },
    ]);
    expect(scene.state.leases.size).toBe(1);
  });

  test('is refused when the worker is full or draining', () => {
    const scene = new Scene().equip();
    for (let batch = 0; batch < WORKER_LIMITS.batches; batch++) {
      step(scene.state, run({ leases: [batch] }));
    }
    expect(scene.kinds(run({ leases: [1_000_000] }))).toEqual(['fail']);
    const other = new Scene().equip();
    other.state.draining = true;
    expect(other.kinds(run({ leases: [1] }))).toEqual(['fail']);
  });
});

describe('cancelling', () => {
  test('an execution ends its waiting and queued units without an answer', () => {
    const scene = new Scene().equip();
    scene.step(run({ leases: [1, 2], execution: 3 }));
    scene.step(
      run({ leases: [3], execution: 3, inputs: [{ kind: 'state', ...stateRef(9) }, rows(0, 1)] }),
    );
    scene.step(run({ leases: [4], execution: 4 }));
    const effects = scene.step({ kind: 'cancel', executions: [3 as ExecutionId], leases: [] });
    expect(effects).toEqual([{ kind: 'skip', batch: 1, units: [0, 1] }]);
    expect([...scene.state.leases.keys()]).toEqual([4]);
    expect(scene.step({ kind: 'computed', batch: 1, units: [0] })).toEqual([]);
  });

  test('a lease leaves the others of its batch alone; unknown ones are ignored', () => {
    const scene = new Scene().equip();
    scene.step(run({ leases: [1, 2] }));
    const leases = [2, 99] as LeaseId[];
    expect(scene.step({ kind: 'cancel', executions: [], leases })).toEqual([
      { kind: 'skip', batch: 1, units: [1] },
    ]);
    expect([...scene.state.leases.keys()]).toEqual([1]);
  });
});

describe('memory', () => {
  test('a tensor above the budget is not stored, and the units that need it fail', () => {
    const scene = new Scene(1000);
    scene.program();
    scene.block(0);
    scene.step(run({ leases: [1] }));
    const ref = { kind: 'state', ...stateRef(1) } as const;
    const effects = scene.step({
      kind: 'chunk',
      ref,
      offsetBytes: 0,
      totalBytes: 2000,
      bytes: 500,
    });
    expect(effects).toMatchObject([{ kind: 'fail', units: [{ error: { code: 'limit' } }] }]);
    const tail = { kind: 'chunk', ref, offsetBytes: 500, totalBytes: 2000, bytes: 500 } as const;
    expect(scene.step(tail)).toEqual([]);
    expect(scene.state.heldBytes).toBe(48);
  });

  test('a program that needs more than is left is refused and may be tried elsewhere', () => {
    const scene = new Scene(150).equip();
    const [effect] = scene.step(run({ leases: [1] }));
    expect(effect).toMatchObject({ kind: 'fail', units: [{ error: { retryable: true } }] });
  });

  test('what is dropped is given back, whole data tensors included', () => {
    const scene = new Scene().equip();
    scene.block(1);
    const event = {
      kind: 'drop',
      programs: [0],
      states: [],
      data: [5 as DataId],
      blocks: [],
    } as const;
    expect(scene.step(event)).toEqual([
      { kind: 'forgetProgram', hash: HASH },
      { kind: 'forget', keys: ['d5/0', 'd5/1'] },
    ]);
    expect(scene.state.heldBytes).toBe(16);
  });

  test('a unit whose tensor is dropped while it waits for another asks again', () => {
    const scene = new Scene();
    scene.program();
    scene.weight();
    scene.step(run({ leases: [1] }));
    scene.step({ kind: 'drop', programs: [], states: [stateRef(1)], data: [], blocks: [] });
    const effects = scene.block(0);
    expect(effects).toMatchObject([{ kind: 'store' }, { kind: 'need', states: [stateRef(1)] }]);
    expect(scene.weight().map(({ kind }) => kind)).toEqual(['store', 'start']);
  });

  test('a whole tensor that comes again changes nothing; one that is cut short starts over', () => {
    const scene = new Scene();
    scene.weight();
    expect(scene.weight()).toEqual([]);
    const ref = { kind: 'state', ...stateRef(2) } as const;
    const piece = { kind: 'chunk', ref, offsetBytes: 0, totalBytes: 16, bytes: 8 } as const;
    scene.step(piece);
    expect(scene.step(piece)).toMatchObject([{ kind: 'store', begins: true, ends: false }]);
    expect(scene.step({ ...piece, offsetBytes: 12, bytes: 4 })).toEqual([]);
    expect(scene.step({ ...piece, offsetBytes: 8 })).toMatchObject([{ begins: false, ends: true }]);
    expect(scene.state.heldBytes).toBe(32);
  });

  test('a tensor without elements is whole with its first, empty piece', () => {
    const scene = new Scene();
    const effects = scene.blob({ kind: 'state', ...stateRef(3) }, 0);
    expect(effects).toMatchObject([{ kind: 'store', begins: true, ends: true }]);
  });
});

describe('trouble', () => {
  test('a lost connection drops units and programs, and keeps whole tensors', () => {
    const scene = new Scene().equip();
    scene.step(run({ leases: [1] }));
    const ref = { kind: 'state', ...stateRef(2) } as const;
    scene.step({ kind: 'chunk', ref, offsetBytes: 0, totalBytes: 16, bytes: 8 });
    expect(scene.step({ kind: 'disconnected' })).toEqual([
      { kind: 'skip', batch: 1, units: [0] },
      { kind: 'forget', keys: ['s2@1'] },
    ]);
    expect(scene.state.programs.size).toBe(0);
    expect([...scene.state.blobs.keys()]).toEqual(['s1@1', 'd5/0']);
    expect(scene.step({ kind: 'computed', batch: 1, units: [0] })).toEqual([]);
  });

  test('a dead compute thread fails what it had and forgets what it held', () => {
    const scene = new Scene().equip();
    scene.step(run({ leases: [1, 2] }));
    const error = { code: 'internal', message: 'died', fault: 'local', retryable: true } as const;
    expect(scene.step({ kind: 'crashed', error })).toMatchObject([
      {
        kind: 'fail',
        units: [
          { lease: 1, error },
          { lease: 2, error },
        ],
      },
    ]);
    expect(scene.step(run({ leases: [3] }))).toMatchObject([
      { kind: 'need', programs: [], states: [stateRef(1)], blocks: [{ dataId: 5, block: 0 }] },
    ]);
  });

  test('of want of memory is the fault of what ran, not of what was behind it', () => {
    const scene = new Scene().equip();
    scene.step(run({ leases: [1] }));
    scene.step(run({ leases: [2] }));
    const error = { code: 'limit', message: 'killed', fault: 'local', retryable: true } as const;
    expect(scene.step({ kind: 'crashed', error })).toMatchObject([
      { kind: 'fail', units: [{ lease: 1, error: { code: 'limit' } }] },
      { kind: 'fail', units: [{ lease: 2, error: { code: 'internal', retryable: true } }] },
    ]);
  });
});
