/** @file Every bound of the system, with its unit. A queue, buffer, retry or remote size that is not here is a bug. */

const KIB = 1024;
const MIB = 1024 * KIB;

export const LIMITS = {
  /** Nodes of one program. */
  programNodes: 20_000,
  programInputs: 4_096,
  programOutputs: 4_096,
  /** Clipping rules of one ADVANCE: one an optimizer. */
  clipsPerMessage: 64,
  /** Versions of a state below are values of it; from here on they are slots of its optimizers on the way to a worker. */
  firstSlotVersion: 2 ** 30,
  /** Encoded program. */
  programBytes: 4 * MIB,
  tensorRank: 8,
  /** Elements of one tensor. */
  tensorElements: 2 ** 31 - 1,
  /** Inputs of one node; only concat takes a list. */
  nodeInputs: 4_096,
  /** Values of one `ints` parameter (a shape, a permutation, a padding). */
  paramInts: 16,

  /** One raw frame (wire contract): larger ones are mapped afresh by the allocator each time and stall the loop. */
  frameBytes: 1 * MIB,
  /** A socket's maxMessageSize: CURVE wraps each frame in 33 bytes more, and a frame above it cuts the connection. */
  socketFrameBytes: 1 * MIB + 64,
  /** Shorter segments share a frame: copying 16 KiB is cheaper than another frame (2 – 4 µs). Wire contract. */
  packBelowBytes: 16 * KIB,
  /** Header words (int32) of one message, so that a header fits one frame. */
  headerWords: (1 * MIB) / 4,
  /** Frames of one message: the header, and twice messageBytes / frameBytes, because packing leaves gaps. */
  messageFrames: 513,
  /** All frames of one message: what a peer can make the other side hold before it decodes anything. */
  messageBytes: 256 * MIB,
  /** msgpack part of HELLO and the other rare control messages. */
  controlBytes: 256 * KIB,
  /** Nesting of a control message; ours need 4. */
  controlDepth: 8,
  /** Values of a control message, containers included; bounds what decoding can allocate. */
  controlValues: 16_384,

  /** Units of one RUN or DONE. */
  unitsPerMessage: 4_096,
  /** Separate byte strings in the body of one message: each costs the receiver a view, however short it is. */
  segmentsPerMessage: 65_536,
  /** Entries of one BLOB or RESULT. */
  chunksPerMessage: 4_096,
  /** Entries of each list of what HELLO declares as held; the rest is sent again. */
  heldRefs: 1_024,
  /** Ids in each list of NEED, DROP and CANCEL. */
  refsPerMessage: 4_096,
  /** Program indices of one connection; the worker's table is an array of this length at most. */
  programsPerConnection: 4_096,
  /** Errors told in one DONE; further failed units repeat the last one. */
  errorsPerMessage: 16,

  /** Characters (UTF-16 units) of text from a peer. */
  nameChars: 64,
  deviceChars: 128,
  bitClassChars: 256,
  tokenChars: 128,
  priceChars: 64,
  errorChars: 2_000,
  /** Lower-case hex digits of a 32-byte key or hash. */
  keyHexDigits: 64,
  idChars: 64,
  /** Z85 of a CURVE key. */
  curveKeyChars: 40,
  /** A token's symbol and decimals, as its contract says them. */
  symbolChars: 32,
  tokenDecimals: 77,
  /** Younger results that must be accepted before one is paid. */
  holdbackUnits: 1_024,
  /** Compute threads of one worker. */
  workerThreads: 1_024,

  /** The engine pings this often; ms. */
  heartbeatMs: 1_000,
  /** Silence after which a peer is gone; ms. Above the time that a 1 MiB frame takes on a 3 Mbit/s link. */
  heartbeatTimeoutMs: 4_000,
  /** A connection that has not said HELLO by then is closed; ms. */
  helloTimeoutMs: 5_000,
  /** A CHALLENGE that is not answered by then is void, and its connection is closed; ms. */
  challengeMs: 10_000,
  /** From TERMS to ACCEPT: the worker reads the chain meanwhile; ms. */
  acceptMs: 120_000,
  /** Bytes in flight to one worker; adaptive below this. 32 – 64 MiB gave the best throughput on loopback. */
  creditWindowBytes: 64 * MIB,
  /** The worker tells what it consumed after this many bytes, or when its queue is empty. */
  creditEveryBytes: 1 * MIB,
  /** A row block of a data tensor; at least one row. */
  blockBytes: 1 * MIB,
  /** Memory in which a worker leaves long frames for an engine on its machine; three results of a model of 600,000 weights. */
  asideBytes: 8 * MIB,
  /** Outputs of one unit above this go ahead in RESULT messages, so that the sum overlaps the transfer. */
  resultAheadBytes: 8 * MIB,
  /** Committed versions of the states that the engine keeps. */
  retainedVersions: 4,
  /** Graph shapes whose plans the kernel remembers; the least recently used one goes first. */
  planSkeletons: 256,
  /** Characters of their canonical texts together; a node takes about 30, its plan a few times that. */
  planSkeletonChars: 8 * MIB,
  /** Plans kept for one graph shape: it is planned anew for each micro-shard size and each set of fixed scalars. */
  plansPerSkeleton: 8,
} as const;

/** Bounds of the panel protocol (RFC 2), checked on both sides before anything is stored. */
export const PANEL_LIMITS = {
  /** Rows a snapshot carries; the kernel keeps the most useful ones and counts the rest. */
  contributors: 500,
  payees: 500,
  alerts: 20,
  transactions: 20,
  /** Points of the loss curve; a longer run is merged pairwise, never truncated. */
  lossPoints: 512,
  /** Characters. */
  idChars: 64,
  nameChars: 64,
  textChars: 400,
  commandChars: 4096,
  urlChars: 200,
  /** Text of one part of an exported log, and what says where the next part begins. */
  exportChars: 512 * KIB,
  cursorChars: 128,
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
  outputInFlightBytes: 4 * MIB,
  /** Bookkeeping charged for each output message on top of its text. */
  outputOverheadBytes: 1_024,
  /** Requests to the engine that one user thread may have open. */
  openEngineRequests: 10_000,
  /** Stop: a cell that uses the engine is told by its next call; it is terminated only after this long. */
  stopGraceMs: 30,
  /** Stop: delay of the first forced termination, doubled up to the maximum. */
  stopRetryMs: 2,
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
  historyPatternChars: 1_000,
  completions: 500,
  /** Type diagnostics printed for one cell. */
  diagnostics: 20,
  /** How long `idle` waits for the type check of a cell that has already run. */
  diagnosticsWaitMs: 40,
  /** Longest wait for one answer of the type thread before the reply goes out empty. */
  typeAnswerMs: 20_000,
  /** Questions that may wait for the type thread. */
  typeQuestions: 256,
  /** Declarations carried from cell to cell for the type checker. */
  carriedDeclarations: 5_000,
  /** How long the last replies may take to leave the sockets at shutdown. */
  shutdownFlushMs: 500,
  /** The whole shutdown; a Jupyter server kills a kernel after 5 s. */
  shutdownMs: 3_000,
  parentPollMs: 1_000,
} as const;

/** Bounds inside one engine: queues, retries, leases and memory. Nothing here crosses a wire. */
export const ENGINE_LIMITS = {
  /** Members kept, those that left included; the longest gone are forgotten first. */
  members: 1_024,
  /** Executions in flight; a later one waits in the request queue. */
  executions: 1_024,
  /** Steps begun before the version that they begin with is committed: two, so that what the engine does for one takes no worker's time. */
  stepsAhead: 2,
  /** Requests of the kernel that wait for their turn. */
  queuedRequests: 16_384,
  /** Micro-shards of one execution. */
  unitsPerExecution: 65_536,
  /** Leases of one worker at a time. */
  leasesPerMember: 1_024,
  /** Work that a worker holds ahead, so that it never waits for the wire; µs of its own compute time. */
  leaseAheadUs: 20_000,
  /** Units that a worker holds ahead at least: one runs while the next arrives. */
  leasesAheadMin: 2,
  /** A worker with leases and no result for this long has stalled; ms. Above the compile time of a large program. */
  stallMs: 15_000,
  /** ... or for this many times the expected time of its next unit. */
  stallFactor: 8,
  /** Between two looks whether the processes of leased local workers live; ms. */
  pulseMs: 12,
  /** Units that a worker adds up before it answers, at most; a power of two. */
  groupUnits: 64,
  /** ... and their expected time at most: what is lost when the worker is; µs. */
  groupUs: 500_000,
  /** Times that a unit is tried before its error is the execution's. */
  unitAttempts: 3,
  /** A worker that has not the memory for a program gets no units of it for the first, and then for the second; ms. */
  unfitOnceMs: 250,
  unfitMs: 60_000,
  /** First guess of a unit's time on a worker that has never run its program; µs. */
  unitUsDefault: 2_000,
  /** First guess of a link; bytes per ms (1 GB/s). */
  linkBytesPerMs: 1_000_000,
  /** Backup leases: at most one unit in so many granted, saved up for at most so many units. */
  backupShare: 20,
  backupUnitsSaved: 128,
  /** ... and owed for so many at most, which somebody has who has been silent for a beat and a quarter of one to answer it; ms. */
  backupUnitsOwed: 128,
  missedBeatMs: 1_250,
  /** A lease is late after this share of the time that 95 % of its program's units kept within, and not before the floor. */
  lateTenths: 15,
  lateMinMs: 10,
  /** Unit times of a program that decide what is late. */
  unitTimes: 64,
  /** Backups in a row that were faster than a worker: then it has stalled. */
  outrunInARow: 4,
  /** Workers whose past is remembered: failures, bans, pauses. */
  standings: 4_096,
  /** So many failures (lost connections, stalls) within the window are a quarantine. */
  flapFailures: 3,
  flapWindowMs: 60_000,
  /** Back-off of a quarantine, doubled by each further one; forgotten after this time without one. */
  quarantineMinMs: 2_000,
  quarantineMaxMs: 60_000,
  flapForgetMs: 600_000,
  /** Runs whose bit class is remembered. */
  runsPinned: 64,
  /** First answers of a stranger that are all audited, and the share of later ones that always is; percent. */
  auditFirst: 10,
  auditPercent: 5,
  /** An audit that no idle worker took for this long goes before other work; ms. */
  auditPatienceMs: 500,
  /** ... and waits no longer than this for somebody to come who can do it; ms. */
  auditWaitMs: 10_000,
  /** Results that agree with no other, and judges that could not compute it, after which an audit is asked of nobody else. */
  auditDisputes: 3,
  auditFailures: 4,
  /** A stranger without work for this long has its last answer audited: no later one will vouch for it; ms. */
  auditIdleMs: 200,
  /** How often audits that wait are looked after; ms. */
  auditTickMs: 50,
  /** Answers of one stranger that wait for an audit to vouch for them; beyond, the next one is audited. */
  auditBacklog: 512,
  /** Answers kept to be compared; beyond, of one that is not audited at once only a hash is kept; bytes. */
  auditBytes: 256 * MIB,
  /** Products are checked where that takes at most so much of what running the unit takes; percent. */
  checkPercent: 5,
  /** One row in so many may be computed again to tell rounding from a lie; where that is not enough, the unit is repeated. */
  checkRowsShare: 8,
  /** Checks of fewer operations are made on the I/O loop: a hop to the thread costs more; FLOPs. */
  inlineCheckFlops: 200_000,
  /** Largest answer that the engine computes anew itself, to decide between strangers; FLOPs, some seconds in float64. */
  judgeFlops: 500_000_000,
  /** Checks that wait for the thread; beyond, answers are left to audits; bytes. */
  checkBytes: 256 * MIB,
  /** After a cheat was caught, audits under way get this long to catch others before the run goes back; ms. */
  auditGraceMs: 150,
  /** NEEDs of one worker in a row without a result: beyond, it is not honest or not able. */
  needsInARow: 64,
  /** Share of a worker's memory that states and data may take; the rest is for running units. Percent. */
  heldPercent: 60,
  /** Events kept to tell the story of a broken invariant. */
  storyEvents: 64,
  /** An execution that finds no worker tells the user after this long; ms. */
  noWorkerNoticeMs: 2_000,
  /** Shared memory of states, slots and sums: all that 32-bit WebAssembly addresses but one page, so that no end wraps to 0; 64 KiB pages. */
  heapPages: 65_535,
  /** Sums below this are added on the I/O loop: a hop to the reduce thread costs more; bytes. */
  inlineReduceBytes: 32 * KIB,
  /** Gradients of all micro-shards of a step that are not summed: they wait for one another; bytes. */
  aggregateBytes: 1024 * MIB,
  /** Threads that share updates; they are bound by memory, so more of them gain little. */
  reduceThreads: 2,
  /** Updates of states above this are shared among them; bytes. */
  sharedUpdateBytes: 256 * KIB,
  /** Times in a row that a worker is sent optimizer slots and does not use them, before it is sent no more. */
  slotsInVain: 3,
  /** Largest pause between an accepted unit and its row in the journal; ms. */
  journalMs: 100,
  /** Rows that wait for the journal's disk; beyond, no work is started that would make more. */
  journalRows: 262_144,
  /** Least time between two images of the states; ms. What happened since the last one is done again after a crash. */
  imageMs: 100,
  /** ... and at least this many times what the last image took, so that it costs a bounded share of one core. */
  imageRest: 4,
  /** An image and the ledger are forced to the disk itself this often: what the loss of the machine may cost; ms. */
  syncMs: 5_000,
  /**
   * Ids of states, data and optimizers that a kernel can use before an image knows of them: many more than `replayRequests`.
   * Each start of an engine skips so many; on the wire there are 2^31.
   */
  idsPerImage: 65_536,
  /** A new kernel waits so long until what the one before did is journaled; ms. */
  settleMs: 1_500,
  /** Pause before the journal tries again what its disk has refused; ms. */
  journalRetryMs: 1_000,
  /** Requests with effects that a kernel keeps until the journal has them, and their bytes. */
  replayRequests: 4_096,
  replayBytes: 256 * MIB,
  /** Starts of an engine that dies again and again, without progress in between, before its kernel gives up. */
  engineRestarts: 6,
  /** Pause before the second start: doubles up to the maximum; ms. */
  engineRestartMinMs: 100,
  engineRestartMaxMs: 3_000,
  /** An engine whose kernel vanished waits for another one this long; ms. */
  lingerMs: 60_000,
  /** Images and data that an engine left for a kernel that did not come are removed after this long; ms. */
  keepSavedMs: 7 * 86_400_000,
  /** Names of the temporary folder that a new engine looks at, and folders of dead engines that it removes. */
  sweepNames: 16_384,
  sweepFolders: 256,
  /** File that says whose a folder of sockets is. */
  ownerBytes: 4 * KIB,
  /** Panel pushes to the kernel; per second. */
  panelHz: 4,
  /** Gone contributors that the panel still lists. */
  goneShown: 16,
  /** Local workers. */
  localWorkersMax: 64,
  /** Pause before a crashed local worker starts again: doubles from the first to the second; ms. */
  restartMinMs: 250,
  restartMaxMs: 15_000,
  /** Time that a child gets to end by itself; ms. */
  exitMs: 2_000,
  /** Peers that are connected and have not said HELLO. */
  strangers: 64,
  /** Invites that are valid at the same time. */
  invites: 64,
  /** Time that the engine process gets until it is ready; ms. */
  engineStartMs: 20_000,
  /** Frames of one message between kernel and engine: a data set of 1 MiB blocks, twice over. */
  kernelFrames: 65_536,
  /** ... bytes of one of them; a larger array is cut. */
  kernelFrameBytes: 1_024 * MIB,
  /** ... of all of them: what the largest array takes, and its header. */
  kernelMessageBytes: 8_192 * MIB + 64 * MIB,
  /** ... and of its JSON header: a plan with every input and output there can be. */
  kernelHeaderBytes: 64 * MIB,
  /** Answers that the kernel has not read: beyond, the engine reads no further request and skips panel states; bytes. */
  kernelQueueBytes: 64 * MIB,
  /** Programs that workers are let to hold; the least recently used ones are dropped and sent again. Below programsPerConnection. */
  residentPrograms: 3_072,
  /** Programs that one engine remembers, and their encoded bytes. */
  programs: 65_536,
  programBytesTotal: 1_024 * MIB,
  /** Workers are told what they earned this often; ms. */
  meterMs: 1_000,
  /** Runs remembered for a session that attaches; the one that trained longest ago is forgotten first. */
  runs: 64,
} as const;

/** Bounds of the engine's way in for other machines, per connection and per address. */
export const GATE_LIMITS = {
  /** Connections that are no worker's yet; of one more, the oldest of the address that has most of them ends. */
  strangers: 64,
  strangersPerAddress: 32,
  /** Connections of one address, and handshakes of one key: so many at once, refilled at this rate. */
  arrivalsBurst: 128,
  arrivalsPerSecond: 32,
  /** Addresses, and keys, whose arrivals are counted. */
  addresses: 4_096,
  /** From the connection to its first bytes; ms. */
  greetMs: 2_000,
  /** ... from there to WELCOME: handshake, HELLO, and a challenge; ms. */
  strangerMs: 20_000,
  /** Bytes that came in and are no whole message yet: of a stranger, which says HELLO and little else, and of a worker. */
  strangerBytes: 1 * MIB,
  memberBytes: 32 * MIB,
  /** ... and frames, however empty: the engine takes all frames of a message in one go, at 2 µs each. */
  strangerFrames: 64,
  memberFrames: 8_192,
  /** A connection that has so much under way and does not end a message is cut after this long; ms. */
  stuckMs: 2_000,
  /** Not counted: a handshake, and heartbeats by the second. */
  handshakeBytes: 2 * KIB,
  handshakeFrames: 8,
  idleBytesPerSecond: 256,
  idleFramesPerSecond: 4,
  /** The gate hears of delivered messages after this many bytes or frames. */
  tookEveryBytes: 64 * KIB,
  tookEveryFrames: 1_024,
  /** Time for a goodbye to leave; ms. */
  lingerMs: 500,
} as const;

/** Bounds of what a cell may leave pending, and of the files it reads. */
export const API_LIMITS = {
  /** Nodes that may wait below a tensor; beyond it the tensor is computed. */
  pendingNodes: 2_000,
  /** Elements of a result that a step computes on its own account, because it is likely to be read. */
  sinkElements: 1_024,
  /** Small results remembered until the next step. */
  recentResults: 512,
  /** Optimizer steps in flight: one that is computed, one that is added up and applied, one that waits at the engine. */
  stepsInFlight: 3,
  /** Parameter groups of one optimizer whose settings a bookmark holds. */
  optimizerGroups: 128,
  /** Characters of the class name of an optimizer, of a tensor's name in a model. */
  nameChars: 512,
  /** Tensors of one run. */
  runTensors: 65_536,
  /** Modules that are no part of another, in one run. */
  runModules: 64,
  /** Bytes at either end of a data tensor that its loader is recognized by. */
  fingerprintBytes: 64 * KIB,
  /** Where a loop is, as JSON: goes with every step. */
  bookmarkChars: 16 * KIB,
  /** What a run consists of, as JSON: goes with its first step. */
  manifestChars: 4 * MIB,
  /** Constants up to this size travel inside an execution; larger ones are sent to the engine once. */
  inlineBytes: 16 * KIB,
  /** Programs whose origins (cell lines) are kept for error messages. */
  programOrigins: 128,
  /** A step that has needed this many different programs gets a warning about changing shapes. */
  programsBeforeWarning: 128,
  /** One data file, decompressed. */
  fileBytes: 2_047 * MIB,
  /** JSON header of a safetensors file. */
  safetensorsHeaderBytes: 100 * MIB,
  /** Elements of a tensor that is printed whole; of a larger one its edges are shown. */
  printElements: 1_000,
  /** Rows and columns shown at each end of an abridged axis. */
  printEdge: 3,
} as const;

/** Bounds of one worker process. Nothing here crosses a wire. */
export const WORKER_LIMITS = {
  /** Compiled programs kept; the least recently used one goes first. Each keeps a thread pool and its packed memory. */
  executables: 32,
  /** Sets of outputs kept of each program to be written again: one a level of the sum of 64 units. */
  outputSets: 7,
  /** Memory of answers that have left, kept for the next ones. */
  spareBuffers: 3,
  /** Versions of a state that a worker which makes them itself has room for: one is read, one made, the others may be read elsewhere. */
  replicaVersions: 5,
  /** Updates that a worker is to make: of the step that it computes, and of those that are here already. */
  advances: 3,
  /** RUN messages held, waiting or queued; further ones are refused unit by unit. */
  batches: 4_096,
  /**
   * Groups of units that run as one program: units of one run, a power of two; batches that come before the program is made;
   * batches in a row after each of which it is tried once, at least before it is put off, before it is used, and at most; how
   * many times as long as its units it takes when it is put off at once; how often it is put off, and how many times as many
   * batches come before the next time; memory of one run, bytes, and at most one of so many parts of the
   * worker's; longest time of its units one by one, µs.
   */
  groupUnits: 8,
  groupAfterBatches: 2,
  groupTrialsMin: 3,
  groupTrialsGood: 4,
  groupTrialsMax: 6,
  groupClearLoss: 1.15,
  groupVerdicts: 3,
  groupVerdictsApart: 8,
  groupBytes: 256 * MIB,
  groupMemoryParts: 8,
  groupUs: 250_000,
  /** Such programs kept, and forms of groups of which is known whether they are worth one. */
  groupExecutables: 8,
  groupForms: 128,
  /**
   * Work that an engine's own worker does on its network thread, because the way to the compute thread and back would take
   * longer: floating-point operations and ops of a batch, bytes of a unit's inputs and values.
   */
  quickFlops: 1_000_000,
  quickOps: 32,
  quickBytes: 64 * KIB,
  /** Tensors kept there as well as on the compute thread; bytes of one, and of all. */
  quickTensorBytes: 16 * KIB,
  quickHeldBytes: 4 * MIB,
  /** A program is compiled there when it comes for this time. */
  quickAfterRuns: 3,
  /** Share of the network thread's time: in each window of the second, at most the first; µs. */
  quickBusyUs: 5_000,
  quickWindowUs: 20_000,
  /** Units held, waiting or queued. */
  units: 65_536,
  /** Default memory budget: this share of the machine's memory, percent. */
  memoryPercent: 50,
  /** Results are handed to the network after this long, or this many bytes; µs and bytes. */
  flushUs: 2_000,
  flushBytes: 4 * MIB,
  /** A unit that runs longer than this is given up and the compute thread replaced; ms. Or ten leases, if that is more. */
  unitWallMs: 120_000,
  /** Compute threads that died in a row without a unit done; then the process ends and says why. */
  computeRestarts: 3,
  /** The same for compute processes, which start again after a pause that doubles from the first to the second; ms. */
  sandboxRestarts: 16,
  sandboxRestartMinMs: 250,
  sandboxRestartMaxMs: 15_000,
  /** A compute process says this often that it lives, and is replaced when it has not for so long; ms and s. */
  sandboxBeatMs: 500,
  sandboxSilentS: 30,
  /** What a compute process may take beyond what its owner lends to programs: Node, the libraries and what they work in. */
  runtimeBytes: 2 * 1024 ** 3,
  /** Longest wait for what was killed to be gone; ms. */
  abandonMs: 1_000,
  /** Messages that wait for the socket; beyond, the connection is given up and its leases are void. */
  sendQueue: 65_536,
  /** ... on this machine, where a message is written at once; bytes. */
  sendQueueBytes: 1_024 * MIB,
  /** Time for what was said last to leave when a link is closed; ms. */
  lingerMs: 300,
  /**
   * Pause before the next connection attempt: doubles from the first to the second; to the third once the engine has been away for so
   * long; ms.
   */
  reconnectMinMs: 100,
  reconnectSoonMs: 200,
  reconnectMaxMs: 5_000,
  reconnectSoonForMs: 15_000,
  /** Longest wait for the answer to HELLO; ms. */
  welcomeMs: 10_000,
  /** Longest wait for units to finish after Ctrl-C; a second Ctrl-C does not wait; ms. */
  drainMs: 30_000,
  /** Time for the last message to leave at the end; ms. */
  exitMs: 1_000,
  /** Speed measurement at start; ms. */
  benchmarkMs: 150,
  /** Longest wait for the process that tries a backend out, and what it may print; ms and bytes. */
  probeMs: 60_000,
  probeBytes: MIB,
  /** Redraws of the terminal view; per second. */
  viewHz: 4,
  /** Characters of an invite. */
  inviteChars: 1_024,
} as const;

/** Bounds of what talks to a chain. */
export const CHAIN_LIMITS = {
  /** Longest wait for the simulated chain to listen, and for it to write its state at the end; ms. */
  anvilStartMs: 20_000,
  anvilExitMs: 6_000,
  /** What is kept of its output until it listens, to be quoted when it does not; UTF-16 units. */
  anvilLastWordsChars: 4_000,
  /** One JSON-RPC request; ms. */
  rpcMs: 10_000,
  /** An answer of a node, and what is quoted of its refusals. */
  rpcAnswerBytes: 32 * MIB,
  rpcMessageChars: 300,
  /** A keystore, a password file, the settings. */
  privateFileBytes: 64 * 1_024,
  /** Gas of one transaction (EIP-7825). */
  transactionGas: 2n ** 24n,
  /** Transactions in a status. */
  transactionsShown: 50,
  /** Minutes whose spending is remembered: an hour, and the one that runs. */
  spendMinutes: 61,
  /** Newest blocks that are read again each time, and blocks of one request for logs. */
  reorgBlocks: 64,
  logBlocks: 2_000,
  /** Confirmations that settings may ask for: less than what is read again. */
  confirmationsMax: 60,
  /** Where settings say nothing: blocks until something counts, and the most that is offered for gas. */
  confirmations: 12,
  maxFeeGwei: 100,
  /** Wei; ether is worth nothing there. */
  simulatedFeeCeiling: 10n ** 15n,
  /** A job of the simulated chain: deposit in coins, life, and when the life is made longer; s. */
  simulatedDeposit: 1_000_000n,
  simulatedDecimals: 18,
  /** Decimals of a token that amounts can be shown in. */
  decimalsMax: 36,
  simulatedJobS: 30 * 86_400,
  simulatedRenewS: 7 * 86_400,
  /** How far this machine's clock and the newest block may be apart; s. */
  clockSkewS: 900,
  /** How far the newest blocks of two nodes may be apart; s. */
  nodeLagS: 180,
  /** Where settings say nothing of it: how many times its fee a settlement brings, after how many hours, and the most of those. */
  settleTimesFee: 100,
  settleHours: 24,
  settleHoursMax: 24 * 365,
  /** How often a network is asked what gas costs; ms. */
  feeLookMs: 60_000,
  /** Looks at the chain until a step of the set-up has to be in a block. */
  setUpPolls: 600,
  /** Between two looks at the chain: while something is under way, on a simulated chain and on a network; and when nothing is; ms. */
  busyPollMs: 100,
  networkPollMs: 4_000,
  idlePollMs: 2_000,
  /** After a failure the pause doubles from the first to the second; ms. */
  retryMinMs: 1_000,
  retryMaxMs: 60_000,
  /** A transaction that no block took is offered more for after this, and is sent again meanwhile; ms. */
  bumpMs: 45_000,
  rebroadcastMs: 15_000,
  /** Looks in a row at a nonce that was used by something else before it is believed. */
  replacedPolls: 3,
  /** Requests that wait in the outbox; a further one is refused. */
  outboxWaiting: 1_000,
  /** After the engine is ready, so that the first cell has the machine for itself; ms. */
  startDelayMs: 1_500,
  /** Entries of one reserve, redeem or settle: with 300, the dearest stays below 2^24 gas (EIP-7825). */
  payeesPerTransaction: 300,
} as const;

/** Bounds of vouchers and receipts (RFC 3). Those of the contract are fixed by its storage. */
export const VOUCHER_LIMITS = {
  /** Base units that one lane can hold: an uint112 in the contract. */
  laneAmount: 2n ** 112n - 1n,
  /** A voucher is due after this many units, or this long after the last one if anything is owed; ms. */
  unitsPerVoucher: 20,
  everyMs: 1_000,
  /** Vouchers sent that their worker has not acknowledged; a further one waits. */
  unacknowledged: 4,
  /** One line of an exported log. */
  receiptLineChars: 512,
  /** Receipts that one voucher adds; 480 of the longest fit a control message. More receipts are more vouchers. */
  linesPerVoucher: 480,
  /** Receipts that one row of the ledger holds. */
  receiptsPerRow: 512,
  /** Texts of the ledger whose numbers are remembered. */
  wordsCached: 65_536,
  /** Committed units that wait for a job to be paid from; beyond, the oldest are not paid. */
  heldUnits: 65_536,
  /** Vouchers that workers showed and that wait for them to be let in. */
  shownVouchers: 1_024,
  /** Least time between two settlements that nobody asked for; ms. */
  settleMs: 10_000,
  /** How often the paymaster looks for what time makes due; ms. */
  tickMs: 200,
} as const;

/** What a worker risks for an engine, and what it forgives (RFC 3). Nothing here crosses a wire. */
export const CREDIT_LIMITS = {
  /** Units that may be delivered and not promised, beyond those held back. */
  windowUnits: 64,
  /** ... and what this much of the worker's time is worth: both have to be exceeded; ms. */
  windowMs: 10_000,
  /** How long a worker whose credit is used up waits for a voucher before it leaves; ms. */
  patienceMs: 20_000,
  /** Answers that no receipt has named yet and that are remembered. */
  deliveries: 65_536,
  /** A unit is not paid any more when one delivered so many units later is. */
  overtakenUnits: 1_024,
  /** Units that may go unpaid at first, and later one in so many: lost races, and audits that went wrong. */
  unpaidUnits: 64,
  unpaidShare: 4,
} as const;

/** Bounds of a worker's wallet. Nothing here crosses a wire. */
export const WALLET_LIMITS = {
  /** Receipts of one job; then they go on in a new file, and the one before the last is forgotten. */
  logBytes: 256 * MIB,
  /** Jobs that a wallet lists. */
  jobs: 4_096,
  /** Requests to redeem that somebody hands to a relayer, and their file. */
  requests: 256,
  requestBytes: 512 * KIB,
  /** Messages of the deal that wait while a signature is checked or a chain asked; beyond, the engine floods. */
  waitingMessages: 256,
  /** What is worked for must be payable for at least this long; seconds of the chain's clock. */
  horizonS: 8 * 3_600,
  /** The wallet redeems by itself when a job expires within this time; seconds. */
  alarmS: 6 * 3_600,
  /** The chain is asked again this often: cap, expiry, reorganisations; ms. */
  recheckMs: 60_000,
  /** A transaction is waited for so long, and asked for so often; ms. */
  receiptMs: 180_000,
  receiptPollMs: 1_000,
  /** A worker that leaves waits this long for its last voucher: longer than engines hold back what is idle; ms. */
  lastVoucherMs: 13_000,
  /** Gas on top of what the node estimates; percent. */
  gasMarginPercent: 20,
} as const;
