/**
 * @file Where the password of a keystore comes from: a file of the owner's alone, an open descriptor, a prompt, or (with a warning) the
 * environment. Never an argument, which everybody on the machine can read.
 */
import { readFileSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { Writable } from 'node:stream';
import { CHAIN_LIMITS, ChainError } from '@ravenlab/protocol';
import { readPrivate } from './privateFile.js';

export interface PasswordSources {
  readonly file?: string | null;
  readonly fd?: number | null;
  /** A variable's value; visible in /proc, and inherited by children. */
  readonly env?: string | null;
  /** Asked last; null where there is no terminal. */
  readonly prompt?: (() => Promise<string>) | null;
}

/**
 * The first source that there is.
 * @param warn is told what a person should know
 * @throws ChainError when there is none, or it is not the owner's alone.
 */
export async function readPassword(
  sources: PasswordSources,
  warn: (text: string) => void,
): Promise<string> {
  const { file, fd, env, prompt } = sources;
  if (typeof file === 'string') return lineOf(readPrivate(file, 'password file'), file);
  if (typeof fd === 'number') return lineOf(descriptorText(fd), `descriptor ${String(fd)}`);
  if (typeof env === 'string' && env !== '') {
    warn(
      'the password comes from the environment, where other programs of yours can read it; a file of mode 0600 is better',
    );
    return env;
  }
  if (typeof prompt === 'function') return prompt();
  throw new ChainError(
    'a keystore needs its password: name a password file of mode 0600, or run this in a terminal to be asked',
    { fault: 'user' },
  );
}

/** Asks in a terminal, and shows nothing of what is typed. Null where there is no terminal. */
export function terminalPrompt(question: string): (() => Promise<string>) | null {
  if (!process.stdin.isTTY) return null;
  return () =>
    new Promise((resolve, reject) => {
      const silent = new Writable({ write: (_chunk, _encoding, done) => done() });
      const terminal = createInterface({ input: process.stdin, output: silent, terminal: true });
      terminal.once('line', (line) => {
        resolve(line);
        terminal.close();
      });
      terminal.once('close', () => {
        process.stderr.write('\n');
        // After a line this is too late, and nothing.
        reject(
          new ChainError(
            'no password was given: expected a line; type it again, or name a password file of mode 0600',
            { fault: 'user' },
          ),
        );
      });
      // The terminal echoes until it is told not to: who types on seeing the question must find it silent.
      process.stderr.write(question);
    });
}

/** Asks again for a password that was chosen just now. @throws ChainError when it is another one. */
export async function confirmPassword(password: string): Promise<void> {
  const prompt = terminalPrompt('The same again, it cannot be recovered: ');
  const again = await readPassword({ prompt }, () => undefined);
  if (again === password) return;
  throw new ChainError('the two passwords differ; nothing was made', { fault: 'user' });
}

/** The first line: editors end a file with one. */
function lineOf(text: string, where: string): string {
  const line = text.split(/\r?\n/, 1)[0] ?? '';
  if (line !== '') return line;
  throw new ChainError(`the password from ${where} is empty`, { fault: 'user' });
}

function descriptorText(fd: number): string {
  try {
    return readFileSync(fd, 'utf8').slice(0, CHAIN_LIMITS.privateFileBytes);
  } catch (cause) {
    throw new ChainError(`no password can be read from descriptor ${String(fd)}`, {
      fault: 'user',
      cause,
    });
  }
}
