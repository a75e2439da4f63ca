/** @file Alerts: what happened stays until newer ones push it out, what holds goes when it is resolved. */
import { PANEL_LIMITS } from '@ravenlab/protocol';
import { AlertBoard } from '../../../kernel/src/engine/alertBoard.js';

function boardAt() {
  const clock = { nowMs: 1 };
  const board = new AlertBoard(() => clock.nowMs);
  return { board, clock, texts: () => board.list().map(({ text }) => text) };
}

test('the same text twice in a row is one alert with the later time', () => {
  const { board, clock } = boardAt();
  board.tell('info', 'a');
  clock.nowMs = 5;
  board.tell('info', 'a');
  expect(board.list()).toMatchObject([{ text: 'a', atMs: 5 }]);
});

test('a topic has one alert: unchanged it keeps its id, changed it is a new one, resolved it is gone', () => {
  const { board, texts } = boardAt();
  board.tell('warning', 'no worker', 'starved');
  board.tell('info', 'other');
  const [first] = board.list();
  board.tell('warning', 'no worker', 'starved');
  expect(board.list()[0]).toEqual(first);
  board.tell('warning', 'no worker of the class', 'starved');
  expect(texts()).toEqual(['other', 'no worker of the class']);
  board.resolve('starved');
  board.resolve('starved');
  expect(texts()).toEqual(['other']);
});

test('an alert that was pushed out can still be resolved, and takes no other with it', () => {
  const { board, texts } = boardAt();
  board.tell('warning', 'no worker', 'starved');
  for (let i = 0; i < PANEL_LIMITS.alerts; i++) board.tell('info', `n${String(i)}`);
  board.resolve('starved');
  expect(texts()).toHaveLength(PANEL_LIMITS.alerts);
});

test('another life of the engine hears what happened, not what held; its ids go on', () => {
  const { board } = boardAt();
  board.tell('error', 'cheat caught');
  board.tell('warning', 'no worker', 'starved');
  const { board: next } = boardAt();
  next.recall(board.memory());
  next.tell('info', 'back');
  expect(next.list().map(({ alertId, text }) => [alertId, text])).toEqual([
    ['1', 'cheat caught'],
    ['2', 'back'],
  ]);
});
