/** @file Layout of ADVANCE and KEEP: the optimizer's step on a worker's own copies. RFC 1 §4. */
import { readStateRef, writeStateRef } from './codecWork.js';
import type { ExecutionId } from './ids.js';
import { LIMITS } from './limits.js';
import type { AdvanceMessage, AdvanceUpdate, KeepMessage } from './message.js';
import type { ClipRule, UpdateRule } from './update.js';
import type { BodyReader, BodyWriter } from './frames.js';
import type { WordReader, WordWriter } from './words.js';

/** Order is wire contract. */
const RULES = ['sgd', 'adam', 'adamw', 'ema', 'assign'] as const satisfies UpdateRule['name'][];
const CLIPS = ['norm', 'value'] as const satisfies ClipRule['kind'][];
/** kind, max (2) */
const CLIP_WORDS = 3;
/** state (2), output, rule, optimizer, steps done, slots of (2), slots, clip */
const UPDATE_WORDS = 10;
/** The most that a rule has. */
const SLOTS = 2;

export function writeAdvance(out: WordWriter, _body: BodyWriter, m: AdvanceMessage): void {
  out.wide('execution', m.execution);
  out.range('clips', m.clips.length, 0, LIMITS.clipsPerMessage);
  for (const { kind, max } of m.clips) {
    out.code('clip kind', kind, CLIPS);
    out.float('clip max', max);
  }
  out.range('updates', m.updates.length, 1, LIMITS.programOutputs);
  for (const update of m.updates) writeUpdate(out, update, m.clips.length);
}

export function readAdvance(input: WordReader, _body: BodyReader): AdvanceMessage {
  const execution = input.wide('execution') as ExecutionId;
  const clipCount = input.count('clips', LIMITS.clipsPerMessage, CLIP_WORDS);
  const clips: ClipRule[] = [];
  for (let i = 0; i < clipCount; i++) {
    const kind = input.code<ClipRule['kind']>('clip kind', CLIPS);
    clips.push({ kind, max: input.float('clip max') });
  }
  const count = input.count('updates', LIMITS.programOutputs, UPDATE_WORDS);
  if (count === 0) input.refuse('an ADVANCE without updates');
  const updates: AdvanceUpdate[] = [];
  for (let i = 0; i < count; i++) updates.push(readUpdate(input, clipCount));
  return { kind: 'advance', execution, clips, updates };
}

function writeUpdate(out: WordWriter, update: AdvanceUpdate, clips: number): void {
  writeStateRef(out, update.state);
  out.range('output', update.output, 0, LIMITS.programOutputs - 1);
  writeRule(out, update.rule);
  out.natural('optimizer', update.optimizerId);
  out.natural('steps done', update.stepsDone);
  out.wide('slots of', update.slotsOf);
  out.range('slots', update.slots.length, 0, SLOTS);
  for (const ref of update.slots) writeStateRef(out, ref);
  out.range('clip', update.clip, -1, clips - 1);
}

function readUpdate(input: WordReader, clips: number): AdvanceUpdate {
  const state = readStateRef(input);
  const output = input.range('output', 0, LIMITS.programOutputs - 1);
  const rule = readRule(input);
  const optimizerId = input.natural('optimizer');
  const stepsDone = input.natural('steps done');
  const slotsOf = input.wide('slots of') as ExecutionId;
  const count = input.count('slots', SLOTS, 2);
  const slots = Array.from({ length: count }, () => readStateRef(input));
  const clip = input.range('clip', -1, clips - 1);
  return { state, output, rule, optimizerId, stepsDone, slotsOf, slots, clip };
}

function writeRule(out: WordWriter, rule: UpdateRule): void {
  out.code<UpdateRule['name']>('rule', rule.name, RULES);
  switch (rule.name) {
    case 'sgd':
      out.float('learning rate', rule.learningRate);
      out.float('momentum', rule.momentum);
      out.float('dampening', rule.dampening);
      out.flag('nesterov', rule.nesterov);
      out.float('weight decay', rule.weightDecay);
      return;
    case 'adam':
    case 'adamw':
      out.float('learning rate', rule.learningRate);
      out.float('beta1', rule.beta1);
      out.float('beta2', rule.beta2);
      out.float('epsilon', rule.epsilon);
      out.float('weight decay', rule.weightDecay);
      return;
    case 'ema':
      out.float('momentum', rule.momentum);
      return;
    case 'assign':
      return;
  }
}

function readRule(input: WordReader): UpdateRule {
  const name = input.code<UpdateRule['name']>('rule', RULES);
  switch (name) {
    case 'sgd': {
      const learningRate = input.float('learning rate');
      const momentum = input.float('momentum');
      const dampening = input.float('dampening');
      const nesterov = input.flag('nesterov');
      const weightDecay = input.float('weight decay');
      return { name, learningRate, momentum, dampening, nesterov, weightDecay };
    }
    case 'adam':
    case 'adamw': {
      const learningRate = input.float('learning rate');
      const beta1 = input.float('beta1');
      const beta2 = input.float('beta2');
      const epsilon = input.float('epsilon');
      const weightDecay = input.float('weight decay');
      return { name, learningRate, beta1, beta2, epsilon, weightDecay };
    }
    case 'ema':
      return { name, momentum: input.float('momentum') };
    case 'assign':
      return { name };
  }
}

export function writeKeep(out: WordWriter, _body: BodyWriter, m: KeepMessage): void {
  out.wide('execution', m.execution);
  out.range('states', m.states.length, 1, LIMITS.programOutputs);
  for (const ref of m.states) writeStateRef(out, ref);
}

export function readKeep(input: WordReader, _body: BodyReader): KeepMessage {
  const execution = input.wide('execution') as ExecutionId;
  const count = input.count('states', LIMITS.programOutputs, 2);
  if (count === 0) input.refuse('a KEEP without states');
  const states = Array.from({ length: count }, () => readStateRef(input));
  return { kind: 'keep', execution, states };
}
