"use strict";
(() => {
  const every = Number(document.documentElement.dataset.refresh) * 1000;
  const state = document.getElementById("refresh");
  const refresh = async () => {
    try {
      const answer = await fetch("/", { cache: "no-store", redirect: "error" });
      if (!answer.ok && answer.status !== 503) throw new Error(answer.status);
      const next = new DOMParser().parseFromString(await answer.text(), "text/html");
      const fresh = next.querySelector("main"), old = document.querySelector("main");
      if (!fresh) throw new Error("no page");
      for (const d of old.querySelectorAll("details[open][id]")) {
        const same = fresh.querySelector("#" + CSS.escape(d.id));
        if (same) same.open = true;
      }
      const focused = old.contains(document.activeElement) ? document.activeElement.id : "";
      const scrolled = [...old.querySelectorAll(".scroll[id]")].map((e) => [e.id, e.scrollLeft]);
      old.replaceWith(document.adoptNode(fresh));
      for (const [id, left] of scrolled) {
        const e = document.getElementById(id);
        if (e) e.scrollLeft = left;
      }
      if (focused) document.getElementById(focused)?.focus({ preventScroll: true });
      document.title = next.title;
      const when = next.getElementById("when");
      if (when) document.getElementById("when").replaceWith(document.adoptNode(when));
      if (state.textContent) state.textContent = "";
    } catch {
      state.textContent = "Cannot be refreshed: tsupload does not answer. What is shown may be old.";
    }
  };
  setInterval(() => { if (!document.hidden) refresh(); }, every);
  document.addEventListener("visibilitychange", () => { if (!document.hidden) refresh(); });
})();
