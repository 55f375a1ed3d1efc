// Answers the API from a fake world, in development and in preview. Preview also sends the ingestor's security policy.

import type { IncomingMessage, ServerResponse } from "node:http";
import type { Plugin } from "vite";
import { points, windows } from "./field.ts";
import { node, nodes, path } from "./territory.ts";
import { alerts, gateways, incidents, latest, ledger, missing, rollup, rollups } from "./world.ts";

const POLICY =
  "default-src 'self'; script-src 'self'; style-src 'self'; img-src 'self'; font-src 'self'; connect-src 'self'; object-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
const UNITS: Record<string, number> = { s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 };

const scoped = (scope: string | null) => alerts.filter((a) => !scope || a.breadcrumb.some((c) => c.id === scope));
const streams = new Set<(event: string, data: unknown, id?: number) => void>();
let cursor = 100;

function answer(url: URL): unknown {
  const parts = url.pathname.slice("/api/v1/".length).split("/").map(decodeURIComponent);
  const q = url.searchParams;
  const [what, id = "", more] = parts;
  const at = new Date().toISOString();
  if (what === "tree") return { items: nodes };
  if (what === "rollups" && node(q.get("scope") ?? "")) return { at, items: rollups(q.get("scope")!, Number(q.get("depth") ?? 0)) };
  if (what === "alerts") return { items: scoped(q.get("scope")).filter((a) => q.get("phase") !== "open" || a.phase !== "resolved").toReversed(), next_cursor: null, log_cursor: String(cursor) };
  if (what === "incidents") return { items: incidents.filter((i) => i.breadcrumb.some((c) => c.id === q.get("scope"))), next_cursor: null };
  if (what === "completeness" && node(q.get("scope") ?? "")) return { window_ms: 3_600_000, items: [ledger(q.get("scope")!, q.get("from")!, q.get("to")!)] };
  if (what === "bases" && node(id)?.level === "base") {
    if (more === "points") return { items: points.filter((p) => p.base === id).map(({ kind, seed, base, ...point }) => point) };
    if (more === "outputs") return { at, items: [] };
    if (more === "latest") return { at, items: latest(id, q.get("sparkline") === "true") };
    return { node: node(id), breadcrumb: path(id), rollup: rollup(id), gateways: gateways(id) };
  }
  if (what === "points") {
    const point = points.find((p) => p.id === parts.slice(1, 4).join("/"));
    if (point && parts[4] === "corrections") return { items: [], next_cursor: null };
    const [, count, unit] = /^(\d+)([smhd])$/.exec(q.get("window") ?? "") ?? [];
    if (!point || !count) return null;
    const width = Number(count) * UNITS[unit!]!;
    const items = windows(point, Date.parse(q.get("from")!), Math.min(Date.parse(q.get("to")!), Date.now()), width);
    const [expected, stored] = [items.reduce((s, w) => s + w.expected, 0), items.reduce((s, w) => s + w.count, 0)];
    return { point: point.id, unit: point.unit, window_ms: width, items, completeness: { expected, stored, ratio: stored / expected }, missing: missing(items) };
  }
  return null;
}

function stream(url: URL, res: ServerResponse): void {
  const scope = url.searchParams.get("scope")!;
  res.writeHead(200, { "content-type": "text/event-stream", "cache-control": "no-store" });
  const send = (event: string, data: unknown, id?: number) => res.write(`event: ${event}\n${id ? `id: ${id}\n` : ""}data: ${JSON.stringify(data)}\n\n`);
  streams.add(send);
  const tick = () => {
    send("rollup", { items: rollups(scope, 1) });
    if (node(scope)?.level === "base") send("reading", { items: latest(scope, false) });
  };
  tick();
  const timer = setInterval(tick, 2000);
  res.on("close", () => {
    clearInterval(timer);
    streams.delete(send);
  });
}

async function acknowledge(id: number, req: IncomingMessage): Promise<unknown> {
  let text = "";
  for await (const chunk of req) text += chunk;
  const { by, note } = JSON.parse(text) as { by: string; note: string };
  const alert = alerts.find((a) => a.id === id);
  if (!alert) return null;
  alert.acknowledged ??= { by, at: new Date().toISOString(), note };
  cursor += 1;
  for (const send of streams) send("alert", alert, cursor);
  return alert;
}

async function serve(req: IncomingMessage, res: ServerResponse, next: () => void): Promise<void> {
  const url = new URL(req.url ?? "/", "http://localhost");
  if (!url.pathname.startsWith("/api/v1/")) return next();
  if (url.pathname === "/api/v1/streams/live") return stream(url, res);
  const ack = /\/alerts\/(\d+)\/acknowledge$/.exec(url.pathname);
  const body = ack ? await acknowledge(Number(ack[1]), req) : answer(url);
  res.writeHead(body ? 200 : 404, { "content-type": body ? "application/json" : "application/problem+json" });
  res.end(JSON.stringify(body ?? { type: "/problems/not-found", title: "Not found", status: 404, detail: "there is no such thing" }));
}

export const mock = (): Plugin => ({
  name: "fake-world",
  configureServer: (server) => void server.middlewares.use((req, res, next) => void serve(req, res, next)),
  configurePreviewServer: (server) => {
    server.middlewares.use((_, res, next) => {
      res.setHeader("content-security-policy", POLICY);
      next();
    });
    server.middlewares.use((req, res, next) => void serve(req, res, next));
  },
});
