// The state of one place and everything below it, kept fresh by one stream.

import { computed, onScopeDispose, ref, shallowRef, watch, type Ref } from "vue";
import * as api from "../api/client";
import { Live } from "../api/live";
import type { Alert, Latest, Output, Rollup } from "../api/view";
import { byUrgency } from "../logic/state";
import { ring } from "./bell";
import { setClock, now } from "./clock";
import { city, loadNetwork, place } from "./network";

export type Link = "connecting" | "live" | "behind";
/** Roll-ups further down than the stream tells are read again this often. */
const REFRESH_MS = 30_000;
const DEPTH = 3;

export interface Extra {
  /** Reads whatever else the page shows; called with every full reading. */
  read?(id: string): Promise<void>;
  onReading?(items: Latest[]): void;
  onOutputs?(items: Output[]): void;
}

/** `wanted` empty: the city. */
export function useScope(wanted: Ref<string>, extra: Extra = {}) {
  const id = ref("");
  const rollups = shallowRef<Map<string, Rollup>>(new Map());
  const alerts = shallowRef<Map<number, Alert>>(new Map());
  const link = ref<Link>("connecting");
  const heardAt = ref(0);
  const ready = ref(false);
  const fault = shallowRef<Error | null>(null);
  let live: Live | null = null;
  let cursor = "0";
  let turn = 0;
  let retry = 0;

  const heard = () => {
    heardAt.value = now.value;
    link.value = "live";
  };

  const mergeRollups = (items: Rollup[]) => {
    rollups.value = new Map([...rollups.value, ...items.map((r) => [r.id, r] as const)]);
  };

  const takeAlert = (alert: Alert) => {
    const next = new Map(alerts.value);
    const known = next.get(alert.id);
    if (alert.phase === "resolved") next.delete(alert.id);
    else next.set(alert.id, alert);
    if (alert.phase === "firing" && known?.phase !== "firing" && alert.severity === "red" && !alert.late) ring();
    alerts.value = next;
  };

  async function read(): Promise<void> {
    const [sums, open] = await Promise.all([api.rollups(id.value, DEPTH), api.openAlerts(id.value), extra.read?.(id.value)]);
    setClock(sums.at);
    rollups.value = new Map(sums.items.map((r) => [r.id, r]));
    alerts.value = new Map(open.items.map((a) => [a.id, a]));
    cursor = open.log_cursor;
  }

  async function start(): Promise<void> {
    const mine = ++turn;
    stop();
    try {
      await loadNetwork();
      if (mine !== turn) return;
      id.value = wanted.value || city.value?.id || "";
      if (!id.value) throw new api.ApiError(404, { type: "empty" });
      if (!place(id.value)) throw new api.ApiError(404, { detail: id.value });
      await read();
      if (mine !== turn) return;
      [fault.value, ready.value] = [null, true];
      listen();
    } catch (error) {
      if (mine !== turn) return;
      fault.value = error as Error;
      link.value = "behind";
      if (!(error instanceof api.ApiError && error.status === 404)) retry = window.setTimeout(() => void start(), 4_000);
    }
  }

  function listen(): void {
    heardAt.value = now.value;
    live = new Live(id.value, cursor, {
      onOpen: (first) => {
        heard();
        if (!first) void read().catch(() => {});
      },
      onReading: (items) => {
        heard();
        extra.onReading?.(items);
      },
      onOutputs: (items) => {
        heard();
        extra.onOutputs?.(items);
      },
      onRollup: (items) => {
        heard();
        mergeRollups(items);
      },
      onAlert: (alert) => {
        heard();
        takeAlert(alert);
      },
      onDown: () => (link.value = "behind"),
    });
  }

  function stop(): void {
    live?.close();
    live = null;
    window.clearTimeout(retry);
  }

  const timer = window.setInterval(() => {
    if (!document.hidden && ready.value) {
      api.rollups(id.value, DEPTH).then(
        (sums) => {
          setClock(sums.at);
          mergeRollups(sums.items);
          if (link.value === "live") heardAt.value = now.value;
        },
        () => {},
      );
    }
  }, REFRESH_MS);

  watch(
    wanted,
    () => {
      ready.value = false;
      link.value = "connecting";
      void start();
    },
    { immediate: true },
  );
  onScopeDispose(() => {
    turn += 1;
    stop();
    window.clearInterval(timer);
  });

  const urgent = computed(() => [...alerts.value.values()].filter((a) => a.phase === "firing").sort(byUrgency));
  return { id, rollups, alerts: urgent, link, heardAt, ready, fault, retry: start, takeAlert };
}

export type Scope = ReturnType<typeof useScope>;
