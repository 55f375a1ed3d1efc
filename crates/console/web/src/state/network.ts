// The tree of places, read once and shared by every page.

import { computed, shallowRef } from "vue";
import * as api from "../api/client";
import type { Crumb, Node } from "../api/view";

const nodes = shallowRef<Map<string, Node>>(new Map());
let asked: Promise<void> | null = null;

/** Reads the tree unless it is here already. */
export function loadNetwork(again = false): Promise<void> {
  if (!asked || again) {
    asked = api.tree().then(
      ({ items }) => void (nodes.value = new Map(items.map((node) => [node.id, node]))),
      (fault) => {
        asked = null;
        throw fault;
      },
    );
  }
  return asked;
}

const below = computed(() => {
  const lists = new Map<string, Node[]>();
  for (const node of nodes.value.values()) {
    if (!node.parent) continue;
    const siblings = lists.get(node.parent);
    if (siblings) siblings.push(node);
    else lists.set(node.parent, [node]);
  }
  return lists;
});

export const city = computed(() => [...nodes.value.values()].find((node) => node.parent === null));
export const place = (id: string): Node | undefined => nodes.value.get(id);
export const children = (id: string): Node[] => below.value.get(id) ?? [];

/** From the city down to the node itself. */
export function path(id: string): Crumb[] {
  const way: Crumb[] = [];
  for (let at = place(id); at; at = at.parent ? place(at.parent) : undefined) way.unshift(at);
  return way;
}

/** Where a place is shown. */
export const route = (node: { id: string; level: string }): string =>
  node.level === "city" ? "/" : node.level === "base" ? `/b/${node.id}` : `/n/${node.id}`;
