// One stream per page. The browser resumes it after a short cut; where it gives up or sleeps, the stream is opened anew
// after the last alert seen, and `onOpen` tells the page to read the rest again.

import type { Alert, Latest, Output, Rollup } from "./view";

export interface Listener {
  onOpen(first: boolean): void;
  onReading(items: Latest[]): void;
  onOutputs(items: Output[]): void;
  onRollup(items: Rollup[]): void;
  onAlert(alert: Alert): void;
  onDown(): void;
}

const RETRY_MS = 3_000;
/** Nothing heard for so long: the link may be dead without having said so. */
const QUIET_MS = 60_000;

export class Live {
  private source: EventSource | null = null;
  private first = true;
  private heardAt = 0;
  private retry = 0;
  private watch = 0;

  /** `cursor`: the last line of the alert log that the page knows. */
  constructor(private readonly scope: string, private cursor: string, private readonly listener: Listener) {
    this.open();
    this.watch = window.setInterval(() => Date.now() - this.heardAt > QUIET_MS && this.open(), 5_000);
    document.addEventListener("visibilitychange", this.onVisible);
  }

  close(): void {
    this.source?.close();
    this.source = null;
    window.clearTimeout(this.retry);
    window.clearInterval(this.watch);
    document.removeEventListener("visibilitychange", this.onVisible);
  }

  private readonly onVisible = () => {
    if (!document.hidden && Date.now() - this.heardAt > QUIET_MS / 3) this.open();
  };

  private open(): void {
    window.clearTimeout(this.retry);
    this.source?.close();
    this.heardAt = Date.now();
    const query = new URLSearchParams({ scope: this.scope, after: this.cursor });
    const source = new EventSource(`/api/v1/streams/live?${query}`);
    this.source = source;
    const on = <T>(event: string, take: (data: T) => void) =>
      source.addEventListener(event, (message) => {
        const { data, lastEventId } = message as MessageEvent<string>;
        this.heardAt = Date.now();
        this.cursor = lastEventId || this.cursor;
        take(JSON.parse(data) as T);
      });
    source.onopen = () => {
      this.heardAt = Date.now();
      this.listener.onOpen(this.first);
      this.first = false;
    };
    source.onerror = () => {
      this.listener.onDown();
      if (source.readyState === EventSource.CLOSED) this.retry = window.setTimeout(() => this.open(), RETRY_MS);
    };
    on<{ items: Latest[] }>("reading", (data) => this.listener.onReading(data.items));
    on<{ items: Output[] }>("outputs", (data) => this.listener.onOutputs(data.items));
    on<{ items: Rollup[] }>("rollup", (data) => this.listener.onRollup(data.items));
    on<Alert>("alert", (data) => this.listener.onAlert(data));
  }
}
