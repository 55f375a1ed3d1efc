import { troubleOf } from "../src/state/centre.ts";
import { describe, expect, test } from "vitest";
import type { Alert, Incident, Rollup, Window } from "../src/api/view.ts";
import { marked, scale, spanLabel } from "../src/chart/options.ts";
import { acts } from "../src/logic/corrections.ts";
import { age, stale } from "../src/logic/age.ts";
import { bytes, figure, hourMinute, percent, plain } from "../src/logic/figures.ts";
import { overlap, placeLabels, spread, type Disc } from "../src/logic/placement.ts";
import { graticule, project, roundStep } from "../src/logic/projection.ts";
import { missingInWords } from "../src/i18n/index.ts";
import { told, withAccounts } from "../src/state/trust.ts";
import { isolated, lack, mostFirst, stretches, windowFor } from "../src/logic/series.ts";
import { byNeed, byUrgency, tone } from "../src/logic/state.ts";

test("ages are said as a person would", () => {
  for (const [ms, unit, count] of [
    [-500, "now", 0],
    [999, "now", 0],
    [1000, "seconds", 1],
    [59_999, "seconds", 59],
    [60_000, "minutes", 1],
    [3_599_000, "minutes", 59],
    [3_600_000, "hours", 1],
    [47.9 * 3_600_000, "hours", 47],
    [48 * 3_600_000, "days", 2],
  ] as const) expect(age(ms)).toEqual({ unit, count });
});

test("a reading is stale after three intervals, but not within ten seconds", () => {
  for (const [ageMs, interval, expected] of [[9_000, 1_000, false], [11_000, 1_000, true], [25_000, 10_000, false], [31_000, 10_000, true]] as const)
    expect(stale(ageMs, interval)).toBe(expected);
});

test("figures keep their decimals, their sign, and do not round up to complete", () => {
  expect(figure(-1.46, 1)).toBe("−1.5");
  expect(figure(-0.04, 1)).toBe("0.0");
  expect(figure(null, 1)).toBe("–");
  expect(percent(0.99999)).toBe("99.9 %");
  expect(percent(1)).toBe("100 %");
  expect(percent(null)).toBe("–");
  expect(plain(2)).toBe("2");
  expect(plain(2.625)).toBe("2.63");
  expect(plain(0.1 + 0.2)).toBe("0.3");
  expect(bytes(3 * 1024 * 1024)).toBe("3.0 MiB");
  expect(hourMinute(Date.parse("2026-05-04T16:30:00Z"))).toBe("00:30");
});

test("the worst alert decides the tone, and silence is never green", () => {
  for (const [state, worst, expected] of [
    ["ok", null, "ok"],
    ["attention", null, "attention"],
    ["attention", "yellow", "yellow"],
    ["alert", "red", "red"],
    ["no_data", null, "no_data"],
    ["no_data", "orange", "orange"],
  ] as const) expect(tone(state, worst)).toBe(expected);
});

test("alerts are listed worst first, then oldest first", () => {
  const alert = (id: number, severity: Alert["severity"], started_at: string) => ({ id, severity, started_at }) as Alert;
  const list = [alert(1, "blue", "2026-01-01T00:00:00Z"), alert(2, "red", "2026-01-02T00:00:00Z"), alert(3, "red", "2026-01-01T00:00:00Z")];
  expect(list.sort(byUrgency).map((a) => a.id)).toEqual([3, 2, 1]);
});

test("places are listed by need", () => {
  const place = (id: string, state: Rollup["state"], worst: Rollup["worst_severity"], ratio: number) =>
    ({ id, state, worst_severity: worst, bases: 2, bases_attention: 0, completeness_1h: { expected: 1, stored: 1, ratio } }) as Rollup;
  const list = [place("fine", "ok", null, 1), place("gaps", "ok", null, 0.9), place("dark", "no_data", null, 0), place("dry", "attention", "blue", 1)];
  expect(list.sort(byNeed).map((r) => r.id)).toEqual(["dry", "dark", "gaps", "fine"]);
});

describe("the picture", () => {
  const sheet = { width: 800, height: 500, padX: 80, padY: 50 };
  test("north is up, and a kilometre is a kilometre both ways", () => {
    const p = project([{ longitude: 99.8, latitude: 38.4 }, { longitude: 101.1, latitude: 39.4 }], sheet);
    expect(p.y(39.4)).toBeLessThan(p.y(38.4));
    const east = p.x(100 + 1 / (111.32 * Math.cos((38.9 * Math.PI) / 180))) - p.x(100);
    expect(east).toBeCloseTo(p.scale, 6);
    expect(p.y(38) - p.y(38 + 1 / 111.32)).toBeCloseTo(p.scale, 6);
  });
  test("a lone place does not blow up", () => {
    const p = project([{ longitude: 100, latitude: 39 }], sheet);
    expect([p.x(100), p.y(39)]).toEqual([400, 250]);
    expect(Number.isFinite(p.scale)).toBe(true);
  });
  test("degree lines are round", () => {
    expect(graticule(99.61, 100.39, 4)).toEqual([99.7, 99.8, 99.9, 100, 100.1, 100.2, 100.3]);
    expect(roundStep(0.19)).toBeCloseTo(0.1);
    expect(roundStep(7)).toBe(5);
  });
  test("discs at one spot are pushed apart, always in the same way", () => {
    const heap: Disc[] = Array.from({ length: 12 }, () => ({ x: 400, y: 250, r: 20 }));
    const discs = spread(heap, 10, 800, 500);
    for (const [i, a] of discs.entries()) for (const b of discs.slice(i + 1)) expect(Math.hypot(a.x - b.x, a.y - b.y)).toBeGreaterThan(45);
    expect(spread(heap, 10, 800, 500)).toEqual(discs);
  });
  test("labels never cover a disc, a sign or one another", () => {
    const discs: Disc[] = Array.from({ length: 30 }, (_, k) => ({ x: 60 + ((k * 137) % 680), y: 40 + ((k * 89) % 420), r: 12 }));
    const signs = [{ x: 300, y: 200, width: 8, height: 8 }];
    const labels = discs.map((_, k) => ({ width: 90, height: 30, priority: k }));
    const spots = placeLabels(discs, labels, sheet, signs);
    const placed = spots.filter((s) => s !== null);
    expect(placed.length).toBeGreaterThan(20);
    expect(spots[29]).not.toBeNull();
    for (const [i, a] of placed.entries()) {
      for (const b of placed.slice(i + 1)) expect(overlap(a, b)).toBe(0);
      expect(overlap(a, signs[0]!)).toBe(0);
      expect(a.x >= 0 && a.x + a.width <= 800 && a.y >= 0 && a.y + a.height <= 500).toBe(true);
    }
  });
});

describe("the chart", () => {
  test("a reason is written along its span, else down it, else left to the pointer", () => {
    expect(spanLabel("网关离线", 80, 12)).toEqual({ formatter: "网关离线" });
    expect(spanLabel("网关离线", 30, 12)).toEqual({ formatter: "网\n关\n离\n线" });
    expect(spanLabel("gateway offline", 30, 12)).toEqual({ formatter: "gateway offline", rotate: 90 });
    expect(spanLabel("网关离线", 8, 12)).toBeNull();
  });
});

describe("series", () => {
  const at = (minute: number) => new Date(Date.UTC(2026, 0, 1, 0, minute)).toISOString();
  const window = (minute: number, count: number, missing: Record<string, number> = {}): Window => ({
    from: at(minute), to: at(minute + 1), mean: count ? 1 : null, min: count ? 1 : null, max: count ? 2 : null,
    first: null, last: null, count, uncertain: 0, corrected: 0, expected: 60, bad: {}, missing,
  });
  test("windows are as narrow as the interval and the count allow", () => {
    for (const [span, interval, word] of [
      [3_600_000, 1_000, "30s"],
      [3_600_000, 60_000, "1m"],
      [21_600_000, 10_000, "2m"],
      [86_400_000, 10_000, "10m"],
      [2_592_000_000, 10_000, "6h"],
      [40 * 2_592_000_000, 10_000, "1d"],
    ] as const) expect(windowFor(span, interval).word).toBe(word);
  });
  test("a hole says why", () => {
    expect(lack(window(0, 60)).cause).toBeNull();
    expect(lack(window(0, 59)).cause).toBeNull();
    expect(lack(window(0, 10, { timeout: 50 })).cause).toBe("timeout");
    expect(lack(window(0, 0)).cause).toBe("not_received");
    expect(lack(window(0, 0, { unknown: 55, timeout: 5 })).cause).toBe("not_received");
    expect(lack(window(0, 0, { gateway_down: 40, evicted: 20 })).cause).toBe("gateway_down");
  });
  test("neighbours in the same condition are one stretch", () => {
    const runs = stretches([window(0, 60), window(1, 0, { timeout: 60 }), window(2, 0, { timeout: 60 }), window(3, 60)]);
    expect(runs.map((r) => [r.cause, r.missing])).toEqual([[null, 0], ["timeout", 120], [null, 0]]);
    expect(runs[1]!.to - runs[1]!.from).toBe(120_000);
  });
  test("the most frequent reasons come first, and the rest is one", () => {
    const missing = { timeout: 40, gateway_down: 60, checksum: 3, unknown: 2 };
    expect(mostFirst(missing, 3)).toEqual([["gateway_down", 60], ["timeout", 40], ["", 5]]);
    expect(mostFirst(missing).length).toBe(4);
    expect(mostFirst({})).toEqual([]);
  });
  test("what is missing is said in one line", () => {
    expect(missingInWords({ timeout: 1200, gateway_down: 43 })).toBe("缺 1,243 条：设备无应答 1,200 · 网关离线 43");
    expect(missingInWords({})).toBe("");
  });
  test("incidents of one kind at one gateway are told once", () => {
    const incident = (id: number, kind: string, gateway: string) => ({ id, kind, gateway }) as Incident;
    const list = told([incident(9, "clone", "a"), incident(8, "gap", "a"), incident(7, "clone", "a"), incident(6, "clone", "b")]);
    expect(list.map(({ last, times }) => [last.id, times])).toEqual([[9, 2], [8, 1], [6, 1]]);
  });
  test("the centre's restoration is told once for all gateways, behind what wants a person", () => {
    const incident = (id: number, kind: string, gateway: string) => ({ id, kind, gateway }) as Incident;
    const list = told([incident(9, "server_restored", "a"), incident(8, "server_restored", "b"), incident(7, "clone", "a")]);
    expect(list.map(({ last, gateways, needsSomeone }) => [last.id, gateways, needsSomeone])).toEqual([[7, 1, true], [9, 2, false]]);
  });
  test("a loss that is suspected beside a clone is laid to the clone", () => {
    const incident = (kind: string, gateway: string, at: string) => ({ id: 1, kind, gateway, at }) as Incident;
    const near = incident("possible_loss", "a", "2026-05-04T06:30:00+08:00");
    const rows: [Incident, boolean][] = [
      [incident("clone", "a", "2026-05-04T06:31:00+08:00"), true],
      [incident("clone", "b", "2026-05-04T06:31:00+08:00"), false],
      [incident("clone", "a", "2026-05-04T07:31:00+08:00"), false],
      [incident("fork", "a", "2026-05-04T06:31:00+08:00"), false],
    ];
    for (const [other, expected] of rows) expect(told([other, near]).find((one) => one.last === near)?.byClone).toBe(expected);
  });
  test("a value between two holes is drawn as a point", () => {
    expect(isolated([null, 1, null, 2, 3])).toEqual([false, true, false, false, false]);
  });
  test("a limit far away does not flatten the values", () => {
    expect(scale([window(0, 60)], [2.5], 1).max).toBeGreaterThan(2.5);
    expect(scale([window(0, 60)], [100], 1).max).toBeLessThan(3);
  });
  test("values that hardly change leave room for steps that can be told apart", () => {
    const { min, max } = scale([window(0, 60)], [], 1);
    expect(max - min).toBeGreaterThanOrEqual(0.4 - 1e-9);
  });
});

test("where the ledger has counted the hour, what was due, stored and missing add up", () => {
  const rollup = { id: "a", completeness_1h: { expected: 10, stored: 11, ratio: 1 } } as Rollup;
  const account = { id: "a", from: "", to: "", expected: 12, stored: 9, missing: { timeout: 3 } };
  const shown = (accounts: Parameters<typeof withAccounts>[1]) => withAccounts(new Map([["a", rollup]]), accounts).get("a")?.completeness_1h;
  expect(shown(new Map())).toEqual(rollup.completeness_1h);
  expect(shown(new Map([["a", account]]))).toEqual({ expected: 12, stored: 9, ratio: 0.75 });
  expect(shown(new Map([["a", { ...account, expected: 0, stored: 0, missing: {} }]]))?.ratio).toBeNull();
});

test("corrections of one act are told once, from their first reading to their last", () => {
  const said = (value: number) => ({ value, quality: "good" as const, cause: null });
  const one = (id: number, at: string, made_at: string, by: string) => ({ id, at, epoch: "", seq: id, before: said(id), after: said(0), by, note: "n", made_at });
  const list = acts([one(4, "T09", "M2", "b"), one(3, "T03", "M1", "a"), one(2, "T02", "M1", "a"), one(1, "T01", "M1", "a")]);
  expect(list.map((a) => [a.by, a.from, a.to, a.count, a.first.before.value])).toEqual([["b", "T09", "T09", 1, 4], ["a", "T01", "T03", 3, 1]]);
});

test("a long run of corrected windows is marked evenly, up to its end", () => {
  const windows = Array.from({ length: 200 }, (_, k) => ({ from: `${k}`, corrected: k >= 10 && k < 150 ? 1 : 0 }) as Window);
  const shown = marked(windows).map((w) => Number(w.from));
  expect([shown[0], shown[1], shown.at(-1), shown.length]).toEqual([10, 13, 149, 48]);
  expect(marked(windows.slice(0, 13)).length).toBe(3);
  expect(marked(windows.slice(0, 5))).toEqual([]);
});

test("what keeps the centre from storing readings is told, the store first", () => {
  const health = (healthy: boolean, up: boolean) => ({
    status: "",
    storage: { healthy, committed_at: "2026-11-22T14:11:22+08:00" },
    broker: { up, since: "2026-11-22T14:00:50+08:00" },
  });
  expect(troubleOf(health(true, true))).toBeUndefined();
  expect(troubleOf(health(false, true))).toEqual({ what: "storage", since: "2026-11-22T14:11:22+08:00" });
  expect(troubleOf(health(true, false))).toEqual({ what: "broker", since: "2026-11-22T14:00:50+08:00" });
  expect(troubleOf(health(false, false))?.what).toBe("storage");
});
