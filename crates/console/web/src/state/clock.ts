// The server's clock, ticking once a second: ages stay right where this machine's clock is wrong.

import { ref } from "vue";

let ahead = 0;
export const now = ref(Date.now());

/** Call with the moment an answer was true at the server. */
export function setClock(at: string): void {
  const server = Date.parse(at);
  if (Number.isFinite(server)) ahead = server - Date.now();
  tick();
}

function tick(): void {
  now.value = Date.now() + ahead;
}

if (globalThis.window) window.setInterval(tick, 1000);
