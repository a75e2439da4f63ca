/** @file For suites with real processes: a slow machine is not a failed test. */
jest.setTimeout(120_000);
