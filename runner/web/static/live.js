// Updates a page while it is visible. Without this script, every page can be read, and reloaded by hand.
"use strict";
(() => {
  const main = document.getElementById("main");
  const status = document.getElementById("live");
  const said = document.getElementById("said");
  const GATHERING = 200, LEAST_PAUSE = 500, TICK = 15000, PROGRESS_TICK = 2000, REOPEN = 2000;
  if (!main.dataset.live && !("poll" in main.dataset)) return;

  const say = (text) => {
    if (status.textContent !== text) { status.textContent = text; status.dataset.is = text; }
  };

  // Changes as few nodes as possible, so that focus, selection, scroll position, open details, and typed text stay.
  const keyOf = (node) => node.nodeType === 1 ? node.dataset.key || node.id : "";
  function morph(to, from) {
    if (to.nodeType !== 1) { if (to.data !== from.data) to.data = from.data; return; }
    if (to.hasAttribute("data-keep")) return;
    for (const { name } of [...to.attributes])
      if (!from.hasAttribute(name) && name !== "open") to.removeAttribute(name);
    for (const { name, value } of from.attributes)
      if (to.getAttribute(name) !== value && name !== "open") to.setAttribute(name, value);
    const keyed = new Map([...to.children].filter(keyOf).map((child) => [keyOf(child), child]));
    const staying = new Set([...from.children].map(keyOf));
    for (const [key, child] of keyed) if (!staying.has(key)) { child.remove(); keyed.delete(key); }
    let at = to.firstChild;
    for (const fresh of [...from.childNodes]) {
      const key = keyOf(fresh);
      const found = key ? keyed.get(key) : at && !keyOf(at) && at.nodeName === fresh.nodeName ? at : null;
      if (!found || found.nodeName !== fresh.nodeName) { to.insertBefore(fresh, at); continue; }
      if (found === at) at = at.nextSibling; else to.insertBefore(found, at);
      morph(found, fresh);
    }
    while (at) { const next = at.nextSibling; at.remove(); at = next; }
  }

  // Fetches the page again and replaces the part that changes. The pause grows with the time that the server needs.
  let waiting = null, running = false, again = false, earliest = 0;
  async function refresh() {
    if (running) { again = true; return; }
    running = true;
    const start = performance.now();
    try {
      const address = main.dataset.from || location.href;
      const answer = await fetch(address, { headers: { Accept: "text/html" }, credentials: "same-origin" });
      if (answer.redirected && new URL(answer.url).pathname === "/login") say("log in again");
      else if (answer.ok && main.dataset.reload) location.reload();
      else if (answer.ok) show(new DOMParser().parseFromString(await answer.text(), "text/html"));
    } catch { /* the server is away; the stream says so, and comes back */ }
    const end = performance.now();
    earliest = end + Math.max(LEAST_PAUSE, 5 * (end - start));
    running = false;
    if (again) { again = false; later(); }
  }
  function show(fresh) {
    const part = main.dataset.part || "#main";
    const from = fresh.querySelector(part), to = document.querySelector(part);
    const state = () => document.querySelector(".headline .state")?.textContent;
    const before = state();
    if (from && to) morph(to, from);
    document.title = fresh.title;
    // Screen readers announce only a change of state.
    if (state() && state() !== before) said.textContent = `The run is now ${state()}`;
  }
  function later() {
    if (waiting !== null || document.hidden) return;
    waiting = setTimeout(() => { waiting = null; refresh(); }, Math.max(GATHERING, earliest - performance.now()));
  }

  // A browser opens at most six connections to a host, so a hidden tab closes its streams.
  const streams = [];
  function keep(address, listen) {
    const stream = { source: null, again: null, over: false };
    stream.open = () => {
      stream.close();
      if (stream.over || document.hidden) return;
      stream.source = new EventSource(address());
      listen(stream.source, stream);
      stream.source.addEventListener("error", () => {
        // The browser reconnects by itself, but not after a response that is not a stream, such as an error of a proxy.
        if (stream.source?.readyState === EventSource.CLOSED) stream.again = setTimeout(stream.open, REOPEN);
      });
    };
    stream.close = () => { clearTimeout(stream.again); stream.source?.close(); stream.source = null; };
    streams.push(stream);
    stream.open();
    return stream;
  }
  document.addEventListener("visibilitychange", () => {
    for (const stream of streams) document.hidden ? stream.close() : stream.open();
    if (!document.hidden) later();
  });
  window.addEventListener("pagehide", () => streams.forEach((stream) => stream.close()));
  window.addEventListener("pageshow", (event) => { if (event.persisted) { streams.forEach((stream) => stream.open()); later(); } });

  let lost = false, away = false;
  if (main.dataset.live) keep(() => main.dataset.live, (source) => {
    source.addEventListener("open", () => { away = false; say("live"); if (lost) later(); lost = false; });
    source.addEventListener("error", () => { lost = true; say("connecting again"); });
    source.addEventListener("away", () => { away = true; say("Redis is away"); });
    source.addEventListener("back", () => { away = false; say("live"); later(); });
    source.addEventListener("run", later);
    source.addEventListener("restart", later);
  });
  // Some changes have no event, such as a worker that died.
  setInterval(() => { if (!away) later(); }, TICK);
  // The bars of running steps grow.
  setInterval(() => { if (!away && "tick" in main.dataset) later(); }, PROGRESS_TICK);

  // For scripts of single pages, which follow streams of their own.
  window.runnerLive = { keep, later, away: () => away };
})();
