/** @file Alerts of the panel: what happened, and what is so until it is resolved. Bounded; no view, no transport. */
import type { Alert, AlertLevel } from '@ravenlab/protocol';
import { PANEL_LIMITS } from '@ravenlab/protocol';

export class AlertBoard {
  private readonly wallMs: () => number;
  private readonly alerts: Alert[] = [];
  /** Alerts that hold until they are resolved: id by topic. */
  private readonly topics = new Map<string, string>();
  private nextId = 1;

  constructor(wallMs: () => number) {
    this.wallMs = wallMs;
  }

  /** Oldest first, at most `PANEL_LIMITS.alerts`. */
  list(): readonly Alert[] {
    return [...this.alerts];
  }

  /** What another life of the engine should show. What only held is left out: if it still does, it is told again. */
  memory(): readonly Alert[] {
    const held = new Set(this.topics.values());
    return this.alerts.filter(({ alertId }) => !held.has(alertId));
  }

  recall(alerts: readonly Alert[]): void {
    this.alerts.push(...alerts);
    this.nextId = 1 + Math.max(0, ...alerts.map(({ alertId }) => Number(alertId)));
  }

  /**
   * Tells what happened; the same text right after itself is one alert with a new time.
   * @param topic makes it something that holds: one alert a topic, until `resolve`.
   */
  tell(level: AlertLevel, text: string, topic: string | null = null): void {
    const shown = text.slice(0, PANEL_LIMITS.textChars);
    if (topic !== null) {
      if (this.holding(topic)?.text === shown) return;
      this.resolve(topic);
    } else if (this.alerts[this.alerts.length - 1]?.text === shown) {
      this.alerts.pop();
    }
    const alertId = String(this.nextId++);
    this.alerts.push({ alertId, level, text: shown, atMs: this.wallMs() });
    if (topic !== null) this.topics.set(topic, alertId);
    if (this.alerts.length > PANEL_LIMITS.alerts) this.alerts.shift();
  }

  /** What was told of `topic` is so no more. */
  resolve(topic: string): void {
    const held = this.holding(topic);
    this.topics.delete(topic);
    if (held !== undefined) this.alerts.splice(this.alerts.indexOf(held), 1);
  }

  private holding(topic: string): Alert | undefined {
    const held = this.topics.get(topic);
    return this.alerts.find(({ alertId }) => alertId === held);
  }
}
