// What a place's readings went through: its incidents of the last week, and the account of its last hour.

import { onScopeDispose, shallowRef, watch, type Ref } from "vue";
import * as api from "../api/client";
import type { Incident, LedgerEntry, Rollup } from "../api/view";
import { now } from "./clock";

const REFRESH_MS = 30_000;
const HOUR_MS = 3_600_000;
const WEEK_MS = 7 * 24 * HOUR_MS;
/** The hour of the roll-ups ends at a full minute, and what is younger than this is still under way. */
const [MINUTE_MS, SETTLE_MS] = [60_000, 5_000];

/** Incidents of one kind at one gateway, told once. The centre's own restoration is told once for all gateways. */
export interface Told { last: Incident; times: number; gateways: number; needsSomeone: boolean; /** Two gateways of one name take each other's card for a new one. */ byClone: boolean }

/** Heals by itself; everything else wants a person. */
const RESTORED: Incident["kind"] = "server_restored";
const HEALS: ReadonlySet<Incident["kind"]> = new Set([RESTORED, "redecoded"]);
/** What two gateways of one name make the centre suspect. */
const SUSPECTED: ReadonlySet<Incident["kind"]> = new Set(["possible_loss", "card_lost"]);
const NEAR_MS = 600_000;

/** What wants a person first; within that the newest first, as they come from the centre. */
export function told(incidents: Incident[]): Told[] {
  const groups = new Map<string, Told & { names: Set<string> }>();
  for (const incident of incidents) {
    const key = incident.kind === RESTORED ? incident.kind : `${incident.kind} ${incident.gateway}`;
    const known = groups.get(key);
    if (known) {
      known.times += 1;
      known.gateways = known.names.add(incident.gateway).size;
    } else {
      const at = Date.parse(incident.at);
      const isClone = (one: Incident) =>
        one.kind === "clone" && one.gateway === incident.gateway && Math.abs(Date.parse(one.at) - at) < NEAR_MS;
      const byClone = SUSPECTED.has(incident.kind) && incidents.some(isClone);
      groups.set(key, { byClone, last: incident, times: 1, gateways: 1, needsSomeone: !HEALS.has(incident.kind) && !incident.ended_at, names: new Set([incident.gateway]) });
    }
  }
  return [...groups.values()].toSorted((a, b) => Number(b.needsSomeone) - Number(a.needsSomeone));
}

/** Roll-ups count while readings come. Where the ledger has counted the hour its figures stand: what was due, what is there and what is missing add up. */
export function withAccounts(rollups: Map<string, Rollup>, accounts: Map<string, LedgerEntry>): Map<string, Rollup> {
  const settled = ([id, rollup]: [string, Rollup]): [string, Rollup] => {
    const account = accounts.get(id);
    if (!account) return [id, rollup];
    const { expected, stored } = account;
    return [id, { ...rollup, completeness_1h: { expected, stored, ratio: expected ? stored / expected : null } }];
  };
  return new Map([...rollups].map(settled));
}

export function useTrust(id: Ref<string>, ready: Ref<boolean>) {
  const incidents = shallowRef<Told[]>([]);
  /** The last hour of this place and of those directly below, as the ledger counts it. */
  const accounts = shallowRef<Map<string, LedgerEntry>>(new Map());
  let turn = 0;

  /** Beside the page, never in its way: what cannot be read now stays as it was. */
  async function read(): Promise<void> {
    const mine = ++turn;
    const to = Math.floor((now.value - SETTLE_MS) / MINUTE_MS) * MINUTE_MS;
    const [list, ledger] = await Promise.allSettled([
      api.incidents(id.value, new Date(now.value - WEEK_MS)),
      api.completeness(id.value, new Date(to - HOUR_MS), new Date(to)),
    ]);
    if (mine !== turn) return;
    if (list.status === "fulfilled") incidents.value = told(list.value.items);
    const entries = ledger.status === "fulfilled" ? ledger.value.items : [];
    accounts.value = new Map(entries.map((entry) => [entry.id, entry]));
  }

  watch(
    [id, ready],
    () => {
      turn += 1;
      [incidents.value, accounts.value] = [[], new Map()];
      if (id.value && ready.value) void read();
    },
    { immediate: true },
  );
  const timer = window.setInterval(() => !document.hidden && ready.value && void read(), REFRESH_MS);
  onScopeDispose(() => {
    turn += 1;
    window.clearInterval(timer);
  });
  return { incidents, accounts };
}
