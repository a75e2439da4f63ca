/** @file For suites with real processes: a slow machine is not a failed test, and engines work without a chain unless asked. */
jest.setTimeout(120_000);

// Each engine would start a chain of its own; suites about pay ask for one.
process.env['RAVENLAB_CHAIN'] ??= 'off';
