/** @file The kernel's requests that only read or write the stores: a table, one row a kind. When they may run is the runner's. */
import type { EngineReply } from '@ravenlab/protocol';
import type { DataStore } from './dataStore.js';
import type { ProgramTable } from './programTable.js';
import type { RunTable } from './runs.js';
import type { StateStore } from './states.js';
import { bytesOf, tensorFrom } from './tensorBytes.js';
import type { QueuedRequest } from './ticket.js';

export interface Stores {
  readonly programs: ProgramTable;
  readonly states: StateStore;
  readonly data: DataStore;
  readonly runs: RunTable;
}

type StoreRequest = Exclude<QueuedRequest, { kind: 'execute' }>;

export type StoreHandlers = {
  readonly [K in StoreRequest['kind']]: (
    request: Extract<StoreRequest, { kind: K }>,
  ) => EngineReply;
};

const OK: EngineReply = { kind: 'ok' };

/** @param reach called with each version that is read; throws when there is no such version. */
export function storeHandlers(
  { programs, states, data, runs }: Stores,
  reach: (version: number) => void,
): StoreHandlers {
  return {
    attach: () => runs.attach(states.version, (stateId) => states.has(stateId)),
    openRun: (request) => {
      runs.open(request);
      return OK;
    },
    mark: (request) => {
      runs.mark(request);
      return OK;
    },
    adopt: (request) => {
      runs.adopt(request);
      return OK;
    },
    defineProgram: ({ hash, bytes }) => {
      programs.define(hash, bytes);
      return OK;
    },
    createState: ({ stateId, type, data: value }) => {
      runs.sawId(stateId);
      states.create(stateId, type, bytesOf(value));
      return OK;
    },
    readStates: ({ stateIds, version }) => {
      reach(version);
      const values = stateIds.map((stateId) => {
        const revision = states.resolve(stateId, version);
        return tensorFrom(revision.type, states.bytesOf(revision));
      });
      return { kind: 'states', values, version: states.version };
    },
    dropStates: ({ stateIds }) => {
      states.drop(stateIds);
      return OK;
    },
    createData: ({ dataId, type, blocks }) => {
      runs.sawId(dataId);
      data.create(dataId, type, blocks);
      return OK;
    },
    dropData: ({ dataIds }) => {
      data.drop(dataIds);
      return OK;
    },
    readSlots: ({ optimizerId, stateIds }) => {
      const values = stateIds.map((stateId) => states.readSlots(stateId, optimizerId));
      return { kind: 'slots', values };
    },
    writeSlots: ({ optimizerId, stateId, slots }) => {
      runs.sawId(optimizerId);
      states.writeSlots(stateId, optimizerId, slots);
      return OK;
    },
  };
}
