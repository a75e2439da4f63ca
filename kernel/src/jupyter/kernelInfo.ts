/** @file What the kernel says about itself and its machine: kernel_info, usage. */

import { cpus, freemem, hostname, loadavg, totalmem } from 'node:os';
import { PROTOCOL_VERSION } from './wire.js';
import type { JsonObject } from './wire.js';

/** `implementation` by which front ends of ours know the kernel. */
const IMPLEMENTATION = 'ravenlab';

/** Content of kernel_info_reply. */
export function kernelInfo(version: string): JsonObject {
  return {
    status: 'ok',
    protocol_version: PROTOCOL_VERSION,
    implementation: IMPLEMENTATION,
    implementation_version: version,
    language_info: {
      name: 'typescript',
      version: process.versions.node,
      mimetype: 'text/typescript',
      file_extension: '.ts',
      codemirror_mode: 'typescript',
      pygments_lexer: 'typescript',
      nbconvert_exporter: 'script',
    },
    banner: `RavenLab ${version}: TypeScript on Node.js ${process.versions.node}`,
    debugger: false,
    help_links: [],
    supported_features: [],
  };
}

/** Reads the process's use of the machine between two calls. */
export class UsageMeter {
  private lastCpu = process.cpuUsage();
  private lastAtMs = performance.now();

  /** Content of usage_reply: CPU in percent of one core, memory in bytes. */
  read(): JsonObject {
    const cpu = process.cpuUsage(this.lastCpu);
    const nowMs = performance.now();
    const elapsedMs = Math.max(1, nowMs - this.lastAtMs);
    this.lastCpu = process.cpuUsage();
    this.lastAtMs = nowMs;
    const cores = cpus().length;
    const total = totalmem();
    const free = freemem();
    return {
      hostname: hostname(),
      pid: process.pid,
      kernel_cpu: (cpu.user + cpu.system) / 10 / elapsedMs,
      kernel_memory: process.memoryUsage.rss(),
      cpu_count: cores,
      host_cpu_percent: Math.min(100, ((loadavg()[0] ?? 0) / cores) * 100),
      host_virtual_memory: {
        total,
        available: free,
        used: total - free,
        free,
        percent: ((total - free) / total) * 100,
      },
    };
  }
}
