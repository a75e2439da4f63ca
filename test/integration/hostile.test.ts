/**
 * @file The engine's way in for other machines, attacked with real sockets: the short form of `npm run drill -- hostile`. Who withdraws an
 * invite, who poses as somebody else, and who sends what does not end.
 */
import { readFileSync } from 'node:fs';
import { GATE_LIMITS, decodeInvite } from '@ravenlab/protocol';
import { Insider, crowd } from '../drill/lib/attackers.js';
import { startEngine, stopEngines } from './lib/engineSuite.js';
import type { TestEngine } from './lib/engineUnderTest.js';
import { isAlive, until } from './lib/engineUnderTest.js';

const MIB = 2 ** 20;
const attackers: Insider[] = [];

afterEach(async () => {
  for (const attacker of attackers.splice(0)) attacker.close();
  await stopEngines();
});

async function inviteOf(engine: TestEngine, name = 'default') {
  const { command } = (await engine.command('invite', { name })) as { command: string };
  return decodeInvite(command.split(' ').at(-1) ?? '');
}

async function insider(engine: TestEngine, name?: string, poses?: Insider): Promise<Insider> {
  const attacker = new Insider(await inviteOf(engine, name), poses?.workerId);
  attackers.push(attacker);
  await attacker.join();
  return attacker;
}

const members = async (engine: TestEngine): Promise<string[]> =>
  (await engine.status()).sessions.map(({ workerId }) => workerId).sort();

/** Bytes; null where /proc does not say. */
function residentBytes(pid: number): number | null {
  try {
    const text = readFileSync(`/proc/${String(pid)}/status`, 'utf8');
    return Number(/^VmRSS:\s+(\d+) kB$/m.exec(text)?.[1]) * 1024;
  } catch {
    return null;
  }
}

test('withdrawing an invite ends those who came by it, and nobody else', async () => {
  const engine = await startEngine(0);
  const [stays, goes] = [await insider(engine, 'lab'), await insider(engine, 'friends')];
  await until('both as members', async () => (await members(engine)).length === 2);
  expect(await engine.command('revoke', { name: 'friends' })).toEqual({
    name: 'friends',
    workers: 1,
  });
  expect(await members(engine)).toEqual([stays.workerId]);
  const { invites } = (await engine.command('invites')) as { invites: { name: string }[] };
  expect(invites.map(({ name }) => name)).toEqual(['lab']);
  // It knows the token still, and comes again by itself.
  await goes.join();
  await until('its second goodbye', () => goes.heard >= 3);
  expect(await members(engine)).toEqual([stays.workerId]);
  await expect(engine.command('revoke', { name: 'friends' })).rejects.toThrow(
    /there is no invite 'friends'; there are 'lab'/,
  );
});

test("a workerId is the key of its connection: nobody takes another one's place", async () => {
  const engine = await startEngine(0);
  const honest = await insider(engine);
  await until('a member', async () => (await members(engine)).length === 1);
  const thief = await insider(engine, 'default', honest);
  await until('the answer to the thief', () => thief.heard > 0);
  expect(await members(engine)).toEqual([honest.workerId]);
  expect(await engine.status()).toMatchObject({ departures: [] });
});

test('messages without an end cost their senders the connection, and the engine bounded memory', async () => {
  const engine = await startEngine(0);
  const invite = await inviteOf(engine);
  const honest = await insider(engine);
  await until('a member', async () => (await members(engine)).length === 1);
  const { enginePid } = await engine.status();
  const before = residentBytes(enginePid);
  const mob = await crowd(invite, 140);
  const stranger = new Insider(invite);
  attackers.push(stranger);
  const member = await insider(engine);
  await until('the flooder as a member', async () => (await members(engine)).length === 2);
  void stranger.flood(256);
  void member.flood(256);
  let peak = before ?? 0;
  await until(
    'the end of the flooder',
    async () => {
      peak = Math.max(peak, residentBytes(enginePid) ?? 0);
      return (await members(engine)).length === 1;
    },
    15_000,
  );
  expect(await members(engine)).toEqual([honest.workerId]);
  expect(isAlive(enginePid)).toBe(true);
  // Twice what may be under way, and what libraries keep.
  if (before === null) console.log('memory is not compared: /proc is not there');
  else expect(peak - before).toBeLessThan(2 * GATE_LIMITS.memberBytes + 96 * MIB);
  await until('the end of the crowd', () => mob.ended === mob.made, 25_000);
  mob.close();
}, 60_000);
