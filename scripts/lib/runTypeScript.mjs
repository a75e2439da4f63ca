/** @file Preload (`node --import`) that registers the TypeScript hooks for the program that follows. */
import { register } from 'node:module';

register('./tsHooks.mjs', import.meta.url);
