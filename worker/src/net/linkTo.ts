/** @file Which link serves an endpoint: a socket of this machine, or ZeroMQ for everything else. */
import { EngineLink } from './engineLink.js';
import type { Link, LinkEvents, LinkOptions } from './engineLink.js';
import { LocalLink } from './localLink.js';

export function linkTo(options: LinkOptions, events: LinkEvents): Link {
  return LocalLink.serves(options.endpoint)
    ? new LocalLink(options.endpoint, events)
    : new EngineLink(options, events);
}
