// How the centre itself fares: whether it can store what comes, and hears its broker.

import { shallowRef } from "vue";
import * as api from "../api/client";
import type { Health } from "../api/view";

const REFRESH_MS = 10_000;

/** What keeps readings from being stored, and since when it has. */
export interface Trouble { what: "storage" | "broker"; since: string | null }

/** Nothing if all is well. */
export function troubleOf({ storage, broker }: Health): Trouble | undefined {
  if (!storage.healthy) return { what: "storage", since: storage.committed_at };
  return broker.up ? undefined : { what: "broker", since: broker.since };
}

export const trouble = shallowRef<Trouble>();

/** A centre that does not answer at all is told by the live status: what was known stays. */
async function look(): Promise<void> {
  const health = await api.health().catch(() => undefined);
  if (health) trouble.value = troubleOf(health);
}

if (globalThis.window) {
  void look();
  window.setInterval(() => !document.hidden && void look(), REFRESH_MS);
}
