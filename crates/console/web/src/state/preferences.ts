// What this device remembers: the name to acknowledge with. And what it does not: wall mode lives in the address.

import { computed, ref, watch } from "vue";
import { useRoute, useRouter } from "vue-router";

const SEEN = "sitian.seen";
/** When somebody last looked, before now: what fired since is new to them. The first visit finds nothing new. */
export const lastSeen = Number(localStorage.getItem(SEEN) ?? Date.now());
window.addEventListener("pagehide", () => localStorage.setItem(SEEN, String(Date.now())));

const STORE = "sitian.operator";
export const operator = ref(localStorage.getItem(STORE) ?? "");
watch(operator, (name) => localStorage.setItem(STORE, name));

/** Wall mode: `?wall=1` travels along from page to page. */
export function useWall() {
  const [current, router] = [useRoute(), useRouter()];
  const wall = computed(() => current.query.wall === "1");
  const toggle = () => router.replace({ path: current.path, query: wall.value ? {} : { wall: "1" } });
  return { wall, toggle };
}
