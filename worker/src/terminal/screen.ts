/** @file Draws lines over themselves on a terminal; on anything else nothing is drawn. */
import type { WriteStream } from 'node:tty';
import type { Paint, Tone } from './report.js';

const ESC = '\u001b[';
const RESET = `${ESC}0m`;
const TONES: Readonly<Record<Tone, string>> = {
  plain: '',
  dim: `${ESC}2m`,
  strong: `${ESC}1m`,
  good: `${ESC}32m`,
  warn: `${ESC}33m`,
};
const HIDE_CURSOR = `${ESC}?25l`;
const SHOW_CURSOR = `${ESC}?25h`;
const CLEAR_LINE = `${ESC}2K`;
const CLEAR_BELOW = `${ESC}0J`;

/** Colours, unless the person asked for none (NO_COLOR). */
export function terminalPaint(environment: Readonly<Record<string, string | undefined>>): Paint {
  const isPlain = (environment['NO_COLOR'] ?? '') !== '';
  return (tone, text) => (isPlain || TONES[tone] === '' ? text : `${TONES[tone]}${text}${RESET}`);
}

export class Screen {
  private readonly stream: WriteStream;
  private drawn: readonly string[] = [];

  constructor(stream: WriteStream) {
    this.stream = stream;
    stream.write(HIDE_CURSOR);
  }

  get columns(): number {
    return this.stream.columns;
  }

  /** Replaces what is drawn; writes once, and only when something changed. */
  draw(lines: readonly string[]): void {
    if (lines.length === this.drawn.length && lines.every((line, i) => line === this.drawn[i]))
      return;
    const up = this.drawn.length === 0 ? '' : `${ESC}${this.drawn.length}A`;
    const text = lines.map((line) => `\r${CLEAR_LINE}${line}\n`).join('');
    this.stream.write(`${up}${text}${CLEAR_BELOW}`);
    this.drawn = lines;
  }

  /** Leaves the last picture and gives the cursor back. */
  close(): void {
    this.stream.write(SHOW_CURSOR);
  }
}
