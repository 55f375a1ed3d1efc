import { createApp, nextTick } from "vue";
import { createRouter, createWebHistory } from "vue-router";
import App from "./App.vue";
import NodePage from "./pages/NodePage.vue";
import "./style/tokens.css";
import "./style/page.css";
import "./style/ask.css";

const router = createRouter({
  history: createWebHistory(),
  routes: [
    { path: "/", component: NodePage },
    { path: "/n/:id", component: NodePage },
    { path: "/b/:id", component: () => import("./pages/BasePage.vue") },
    // A place that nobody knows: the page says so.
    { path: "/:id(.*)", component: NodePage },
  ],
  scrollBehavior: (to, from, saved) => saved ?? (to.path === from.path ? undefined : { top: 0 }),
});

// Wall mode travels along.
router.beforeEach((to, from) =>
  from.query.wall === "1" && to.path !== from.path && to.query.wall === undefined
    ? { ...to, query: { ...to.query, wall: "1" } }
    : true,
);

// Whoever reads by keyboard or ear starts anew at the top of the page.
router.afterEach((to, from) => {
  if (to.path !== from.path && from.matched.length) {
    void nextTick(() => document.querySelector<HTMLElement>("main")?.focus({ preventScroll: true }));
  }
});

createApp(App).use(router).mount("#app");
