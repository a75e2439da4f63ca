/** @file Every bound of the system, with its unit. A queue, buffer, retry or remote size that is not here is a bug. */

const KIB = 1024;
const MIB = 1024 * KIB;

export const LIMITS = {
  /** Nodes of one program. */
  programNodes: 20_000,
  programInputs: 4_096,
  programOutputs: 4_096,
  /** Encoded program. */
  programBytes: 4 * MIB,
  tensorRank: 8,
  /** Elements of one tensor. */
  tensorElements: 2 ** 31 - 1,
} as const;

/** Bounds of the panel protocol (RFC 2), checked on both sides before anything is stored. */
export const PANEL_LIMITS = {
  /** Rows a snapshot carries; the kernel keeps the most useful ones and counts the rest. */
  contributors: 500,
  payees: 500,
  alerts: 20,
  /** Points of the loss curve; a longer run is merged pairwise, never truncated. */
  lossPoints: 512,
  /** Characters. */
  idChars: 64,
  nameChars: 64,
  textChars: 400,
  commandChars: 4096,
  /** 10^78 > 2^256: any amount a chain can hold. */
  amountDigits: 78,
  workersPerScale: 1024,
  /** A front end that is silent for this long gets nothing more. */
  leaseMs: 15_000,
  leaseEveryMs: 5_000,
  visibleHz: 4,
  hiddenHz: 0.5,
  /** Slowest rate that a front end may ask for. */
  slowestHz: 0.1,
  /** Front ends of one kernel, and commands one of them may have in flight. */
  clients: 32,
  commandsInFlight: 16,
  /** Replies kept so that a command repeated after a reconnect is not run twice. */
  repliesKept: 256,
  commandTimeoutMs: 30_000,
} as const;

/** Bounds of the Jupyter kernel: its sockets, its output and its two helper threads. */
export const KERNEL_LIMITS = {
  /** Frames of one Jupyter message, and bytes of one frame; checked before any JSON is parsed. */
  messageFrames: 1_024,
  frameBytes: 256 * MIB,
  jsonFrameBytes: 64 * MIB,
  /** Source of one cell, characters. */
  cellChars: 4 * MIB,
  /** Execute requests that may wait behind a running cell. */
  queuedCells: 10_000,
  /** Cells whose parent header and source are kept, for late output and for tracebacks. */
  rememberedCells: 1_000,
  openComms: 1_000,
  /** Streams are merged for this long, or until this many characters are waiting. */
  streamMergeMs: 20,
  streamMergeChars: 64 * KIB,
  /** A merged stream message never exceeds this many characters, however far behind the socket is. */
  streamMessageChars: MIB,
  /** IOPub messages of one cell: a burst, then a steady rate (a Jupyter server drops beyond 1000/s). */
  iopubBurst: 40,
  iopubPerSecond: 150,
  /** Output that a cell may have on its way to the sockets before its next write waits. */
  outputInFlightBytes: 16 * MIB,
  /** Bookkeeping charged for each output message on top of its text. */
  outputOverheadBytes: 256,
  /** Requests to the engine that one user thread may have open. */
  openEngineRequests: 10_000,
  /** Stop: a cell that waits for the engine may clean up this long before it is terminated. */
  stopGraceMs: 15,
  /** Stop: delay of the first forced termination, doubled up to the maximum. */
  stopRetryMs: 4,
  stopRetryMaxMs: 64,
  /** Stop: after this the user thread is replaced and its variables are lost. */
  stopGiveUpMs: 5_000,
  /** A code frame shows this many lines around the error; a traceback this many frames and causes. */
  codeFrameLines: 2,
  tracebackFrames: 30,
  errorCauses: 5,
  errorChars: 64 * KIB,
  historyEntries: 10_000,
  historyBytes: 8 * MIB,
  historyEntryChars: 64 * KIB,
  completions: 500,
  /** Type diagnostics printed for one cell. */
  diagnostics: 20,
  /** How long `idle` waits for the type check of a cell that has already run. */
  diagnosticsWaitMs: 250,
  /** Longest wait for one answer of the type thread before the reply goes out empty. */
  typeAnswerMs: 10_000,
  /** Questions that may wait for the type thread. */
  typeQuestions: 256,
  /** Declarations carried from cell to cell for the type checker. */
  carriedDeclarations: 5_000,
  /** How long the last replies may take to leave the sockets at shutdown. */
  shutdownFlushMs: 500,
  parentPollMs: 1_000,
} as const;
