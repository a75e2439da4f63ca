/** @file Set-up's machinery with real processes: limits, what is left behind, and locks of the dead. */
import { spawn } from 'node:child_process';
import { existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { mustRun, run } from '../../scripts/lib/exec.mjs';
import { withLock } from '../../scripts/lib/lock.mjs';
import { CACHE } from '../../scripts/lib/paths.mjs';

const node = process.execPath;

/** A pid that certainly belongs to nobody: of a process that has ended. */
async function deadPid(): Promise<number> {
  const child = spawn(node, ['-e', '']);
  await new Promise((resolve) => child.once('exit', resolve));
  return child.pid!;
}

describe('running a command', () => {
  it('ends a command that outlives its limit, with everything it started', async () => {
    const grandchild = `console.log('grandchild runs'); setInterval(() => {}, 1000)`;
    const program = `
      const { spawn } = require('node:child_process');
      spawn(process.execPath, ['-e', ${JSON.stringify(grandchild)}], { stdio: 'inherit' });
      setInterval(() => {}, 1000);`;
    // The grandchild holds the output pipe: that this resolves at all is proof that it has ended.
    const result = await run(node, ['-e', program], { log: 'exec-test', timeoutMs: 1500 });
    expect(result).toMatchObject({ timedOut: true });
    expect(result.output).toContain('grandchild runs');
  });

  it('quotes the end of the output when a command that must succeed fails', async () => {
    const program = 'console.log("early"); console.error("late reason"); process.exit(3)';
    const attempt = mustRun(node, ['-e', program], { log: 'exec-test', failure: 'it broke' });
    await expect(attempt).rejects.toMatchObject({
      message: 'it broke: node ended with code 3',
      detail: expect.stringContaining('late reason') as string,
    });
  });

  it('says which program could not be started', async () => {
    const attempt = mustRun('no-such-program', [], { log: 'exec-test', failure: 'it broke' });
    await expect(attempt).rejects.toThrow(
      'it broke: no-such-program could not be started (ENOENT)',
    );
  });

  it("keeps npm's own variables from the child", async () => {
    const program = 'console.log(Object.keys(process.env).filter((k) => /^npm_/i.test(k)).length)';
    process.env['npm_config_canary'] = '1';
    const { output } = await run(node, ['-e', program], { log: 'exec-test' });
    delete process.env['npm_config_canary'];
    expect(output.trim()).toBe('0');
  });
});

describe('the set-up lock', () => {
  const name = 'lock-test';
  const file = join(CACHE, `${name}.lock`);
  afterEach(() => rmSync(file, { force: true }));

  it('lets one piece of work in at a time, and is gone afterwards', async () => {
    const events: string[] = [];
    const work = (label: string) => async () => {
      events.push(`${label} in`);
      await sleep(50);
      events.push(`${label} out`);
    };
    await Promise.all([withLock(name, work('a')), withLock(name, work('b'))]);
    expect(events[1]).toBe(events[0]?.replace('in', 'out'));
    expect(events).toHaveLength(4);
    expect(existsSync(file)).toBe(false);
  });

  it('is taken over from a process that died', async () => {
    writeFileSync(file, String(await deadPid()));
    const holder = await withLock(name, () => Promise.resolve(readFileSync(file, 'utf8')));
    expect(holder).toBe(String(process.pid));
  });

  it('is released when the work fails', async () => {
    await expect(withLock(name, () => Promise.reject(new Error('boom')))).rejects.toThrow('boom');
    expect(existsSync(file)).toBe(false);
  });
});
