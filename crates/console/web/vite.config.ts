import vue from "@vitejs/plugin-vue";
import { defineConfig } from "vite";
import { mock } from "./dev/mock.ts";

// The fake world answers unless a real ingestor is named: SITIAN_API=http://127.0.0.1:8080 npm run dev
const ingestor = process.env.SITIAN_API;

export default defineConfig({
  plugins: [vue(), ...(ingestor ? [] : [mock()])],
  define: { __VUE_OPTIONS_API__: "false" },
  server: ingestor ? { proxy: { "/api": ingestor } } : {},
  build: {
    target: "es2022",
    // The ingestor's content security policy allows files from its own origin only: nothing is inlined.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    chunkSizeWarningLimit: 700,
  },
});
