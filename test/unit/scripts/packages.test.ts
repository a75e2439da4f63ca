/** @file The Node version check, which must speak before newer syntax fails to parse. */
import { checkNode } from '../../../scripts/lib/packages.mjs';

describe('checking the Node version', () => {
  it.each(['20.19.0', '20.20.2', '22.0.0', '100.1.0'])('accepts %s', (version) => {
    expect(() => checkNode(version)).not.toThrow();
  });

  it.each(['20.18.3', '18.20.8', '9.99.0'])('refuses %s and names what is needed', (version) => {
    expect(() => checkNode(version)).toThrow(`Node 20.19 or newer is needed; this is ${version}`);
  });
});
