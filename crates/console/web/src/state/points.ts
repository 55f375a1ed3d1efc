// The points of a base and their newest readings.

import { computed, ref, shallowRef } from "vue";
import * as api from "../api/client";
import type { Gateway, Latest, Medium, Point } from "../api/view";
import { setClock } from "./clock";

export const MEDIA: readonly Medium[] = ["soil", "water", "air", "power", "other"];

export interface Group { place: string; media: { medium: Medium; points: Point[] }[] }

/** By place, then by medium; places in the order of their names, numbers as numbers. */
export function grouped(points: Point[]): Group[] {
  const places = [...new Set(points.map((p) => p.place))].sort((a, b) => a.localeCompare(b, "zh-CN", { numeric: true }));
  return places.map((place) => ({
    place,
    media: MEDIA.map((medium) => ({ medium, points: points.filter((p) => p.place === place && p.medium === medium) })).filter(
      (group) => group.points.length,
    ),
  }));
}

export function usePoints() {
  const points = shallowRef<Point[]>([]);
  const gateways = shallowRef<Gateway[]>([]);
  const latest = ref(new Map<string, Latest>());

  async function read(baseId: string): Promise<void> {
    const [page, list, values] = await Promise.all([api.base(baseId), api.points(baseId), api.latest(baseId)]);
    setClock(values.at);
    [points.value, gateways.value] = [list.items, page.gateways];
    latest.value = new Map(values.items.map((item) => [item.point, item]));
  }

  /** A live reading carries no sparkline: the one at hand stays. */
  function onReading(items: Latest[]): void {
    for (const item of items) {
      const known = latest.value.get(item.point);
      latest.value.set(item.point, { ...item, sparkline: item.sparkline ?? known?.sparkline });
    }
  }

  const groups = computed(() => grouped(points.value));
  return { points, groups, gateways, latest, read, onReading };
}
