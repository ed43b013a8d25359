// Live figures on the pages of Sluice. Without this script every page is complete but for them.
"use strict";

(() => {
  const kept = 120; // seconds in a plot
  const history = new Map(); // subject -> list of {requests, failed}
  const pulse = document.getElementById("pulse");

  const number = (v) => (v >= 100 ? Math.round(v).toString() : v >= 1 ? v.toFixed(1) : v > 0 ? v.toFixed(2) : "0");

  function remember(subject, figures) {
    let list = history.get(subject);
    if (!list) {
      list = [];
      history.set(subject, list);
    }
    list.push({ requests: figures.requests || 0, failed: figures.failed || 0 });
    if (list.length > kept) list.shift();
    return list;
  }

  function draw(svg, list) {
    const top = Math.max(1, ...list.map((p) => p.requests));
    for (const name of ["requests", "failed"]) {
      const points = list.map((p, i) => `${kept - list.length + i},${(31 - (30 * p[name]) / top).toFixed(1)}`);
      svg.querySelector("." + name).setAttribute("points", points.join(" "));
    }
  }

  function show(data) {
    const all = new Map();
    for (const [kind, group] of [["entryPoint", data.entryPoints], ["router", data.routers], ["service", data.services]]) {
      for (const [name, figures] of Object.entries(group || {})) all.set(kind + ":" + name, figures);
    }
    for (const e of document.querySelectorAll("[data-live]")) {
      const figures = all.get(e.dataset.live) || {};
      const value = figures[e.dataset.figure];
      e.textContent = value === undefined && e.dataset.figure.startsWith("p") ? "–" : number(value || 0);
    }
    for (const e of document.querySelectorAll("[data-open]")) e.textContent = (data.open || {})[e.dataset.open] || 0;
    for (const e of document.querySelectorAll("[data-plot]")) draw(e, remember(e.dataset.plot, all.get(e.dataset.plot) || {}));
    for (const e of document.querySelectorAll("[data-box], [data-edge]")) {
      const figures = all.get(e.dataset.box || e.dataset.edge) || {};
      e.classList.toggle("busy", (figures.requests || 0) > 0);
      e.classList.toggle("failing", (figures.failed || 0) > 0);
    }
  }

  function tell(event) {
    const list = document.getElementById("event-list");
    if (!list) return;
    const item = document.createElement("li");
    item.textContent = new Date(event.time).toLocaleTimeString() + " " + event.kind + ": " + event.text;
    list.prepend(item);
    while (list.children.length > 30) list.lastChild.remove();
  }

  function buttons() {
    for (const pre of document.querySelectorAll("details pre")) {
      const b = document.createElement("button");
      b.type = "button";
      b.className = "copy";
      b.textContent = "Copy";
      b.addEventListener("click", async () => {
        try {
          await navigator.clipboard.writeText(pre.querySelector("code").textContent);
          b.textContent = "Copied";
        } catch {
          b.textContent = "Select and copy by hand";
        }
      });
      pre.before(b);
    }
  }

  buttons();
  if (!document.querySelector("[data-live], [data-plot], [data-box], #event-list")) return;
  const stream = new EventSource(document.body.dataset.api + "events");
  stream.addEventListener("live", (e) => {
    pulse.textContent = "live";
    show(JSON.parse(e.data));
  });
  stream.addEventListener("event", (e) => tell(JSON.parse(e.data)));
  stream.addEventListener("configuration", () => {
    pulse.textContent = "the configuration has changed: reload to see it";
  });
  stream.addEventListener("error", () => {
    pulse.textContent = "no live figures at the moment";
  });
  addEventListener("pagehide", () => stream.close());
})();
