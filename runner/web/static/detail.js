// The log of a run: wrapping, search, links to lines, and new lines while it runs. The page can be read without.
"use strict";
(() => {
  const log = document.getElementById("log");
  if (!log) return;
  const main = document.getElementById("main");
  const MOST_LINES = 5000, REOPEN = 2000, PROGRESS_TICK = 2000;

  // A link to a line that this part of the log does not have.
  const NAME = /^#L(\d+\.\d+)$/;
  const target = () => document.getElementById(location.hash.slice(1));
  const asked = NAME.exec(location.hash);
  if (asked && !target() && !log.dataset.steps && new URLSearchParams(location.search).get("line") !== asked[1])
    location.replace(`${location.pathname}?line=${asked[1]}${location.hash}`);
  if (asked && target()) target().scrollIntoView({ block: "center" });
  else log.scrollTop = log.scrollHeight;

  const wrap = document.getElementById("log-wrap");
  const stored = (value) => {
    try { return value === undefined ? localStorage.getItem("runner.log.wrap") : localStorage.setItem("runner.log.wrap", value); } catch { return null; }
  };
  function setWrap(on) {
    log.classList.toggle("nowrap", !on);
    wrap?.setAttribute("aria-pressed", String(on));
  }
  setWrap(stored() !== "off");
  wrap?.addEventListener("click", () => {
    const on = wrap.getAttribute("aria-pressed") !== "true";
    setWrap(on);
    stored(on ? "on" : "off");
  });

  // Search: each match is marked, Enter goes to the next one, and Shift+Enter to the one before.
  const field = document.querySelector(".log-search input"), status = document.getElementById("log-hits");
  let hits = [], current = -1;
  function mark() {
    for (const row of log.querySelectorAll(".hit, .current")) row.classList.remove("hit", "current");
    globalThis.CSS?.highlights?.delete("found");
    const text = field.value.toLowerCase();
    hits = [];
    current = -1;
    if (!text) { status.textContent = ""; return; }
    const ranges = [];
    for (const row of log.querySelectorAll(".line:not(.empty)")) {
      const node = row.lastChild;
      const found = node.data.toLowerCase();
      if (!found.includes(text)) continue;
      hits.push(row);
      row.classList.add("hit");
      for (let at = found.indexOf(text); at >= 0 && found.length === node.data.length; at = found.indexOf(text, at + text.length)) {
        const range = new Range();
        range.setStart(node, at);
        range.setEnd(node, at + text.length);
        ranges.push(range);
      }
    }
    if (globalThis.CSS?.highlights) CSS.highlights.set("found", new Highlight(...ranges));
    status.textContent = hits.length ? `${hits.length} here` : "none here";
  }
  function go(by) {
    if (!hits.length) return false;
    hits[current]?.classList.remove("current");
    current = current < 0 ? (by > 0 ? 0 : hits.length - 1) : (current + by + hits.length) % hits.length;
    hits[current].classList.add("current");
    hits[current].scrollIntoView({ block: "nearest" });
    status.textContent = `${current + 1} of ${hits.length}`;
    return true;
  }
  field?.addEventListener("input", mark);
  field?.addEventListener("keydown", (event) => {
    if (event.key === "Escape" && field.value) { field.value = ""; mark(); event.preventDefault(); }
    // Where nothing is found here, Enter asks the server for the whole log.
    if (event.key === "Enter" && go(event.shiftKey ? -1 : 1)) event.preventDefault();
  });
  if (field?.value) mark();

  // New lines. The log follows its end for a reader who looks at its end.
  if (!main.dataset.log || !window.runnerLive) return;
  const { keep, later, away } = window.runnerLive;
  // No event announces progress.
  const ticking = setInterval(() => { if (!away()) later(); }, PROGRESS_TICK);
  const clock = new Intl.DateTimeFormat("en-GB", { timeZone: main.dataset.zone, timeStyle: "medium" });
  const [address, from] = main.dataset.log.split("?after=");
  const ofSteps = "steps" in main.dataset;
  const numbers = JSON.parse(log.dataset.ends || "{}");
  let last = from;
  function rowOf(line) {
    const row = document.createElement("span");
    const bad = line.level === "ERROR" || line.level === "CRITICAL";
    row.className = "line" + (bad ? " bad" : line.level === "WARNING" ? " odd" : "");
    const link = document.createElement("a"), time = document.createElement("time"), attempt = document.createElement("b");
    const counter = ofSteps ? "all" : line.attempt;
    const number = (numbers[counter] || 0) + 1;
    numbers[counter] = number + Math.max(0, line.cut - 1);
    link.textContent = number;
    if (ofSteps) link.href = line.run ? `${location.pathname.replace(/[^/]*$/, "")}${line.run}` : "#log";
    else { row.id = `L${line.attempt}.${number}`; link.href = `#${row.id}`; }
    time.textContent = clock.format(new Date(line.at));
    attempt.textContent = line.step ? `${line.step} #${line.attempt} ` : `#${line.attempt} `;
    if (line.attempt > 1 || ofSteps) log.classList.remove("single");
    row.append(link, time, " ", attempt, `${line.text}\n`);
    return row;
  }
  keep(() => ofSteps ? address : `${address}?after=${last}`, (source, stream) => {
    if (ofSteps) {
      // The log of a flow is put together anew for each reader, so it has no position from which to go on.
      source.addEventListener("open", () => { log.replaceChildren(); delete numbers.all; });
      source.addEventListener("error", () => { stream.close(); if (!stream.over) stream.again = setTimeout(stream.open, REOPEN); });
    }
    source.addEventListener("lines", (event) => {
      last = event.lastEventId || last;
      log.querySelector(".empty")?.remove();
      const atEnd = log.scrollTop + log.clientHeight >= log.scrollHeight - 8;
      const rows = document.createDocumentFragment();
      for (const line of JSON.parse(event.data).map(rowOf).slice(-MOST_LINES)) rows.append(line);
      log.append(rows);
      for (let over = log.childElementCount - MOST_LINES; over > 0; over--) log.firstElementChild.remove();
      if (field?.value) mark();
      if (atEnd) log.scrollTop = log.scrollHeight;
    });
    source.addEventListener("end", () => { stream.over = true; stream.close(); clearInterval(ticking); later(); });
  });
})();
