// Keeps a page true while it is open. Without this script every page can be read, and loaded again.
"use strict";
(() => {
  const main = document.getElementById("main");
  const status = document.getElementById("live");
  const say = (text) => { if (status && status.textContent !== text) status.textContent = text; };

  // The part of the page that changes is fetched anew, as the server renders it.
  let waiting = null, running = false, again = false;
  async function refresh() {
    if (running) { again = true; return; }
    running = true;
    try {
      const answer = await fetch(location.href, { headers: { Accept: "text/html" }, credentials: "same-origin" });
      if (answer.ok && !answer.redirected) {
        const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
        const part = main.dataset.part || "#main";
        const from = fresh.querySelector(part), to = document.querySelector(part);
        // Not under somebody's hands: a form that is being filled in stays.
        if (from && to && !to.querySelector("input:focus, select:focus, textarea:focus")) {
          const open = [...to.querySelectorAll("details")].map((each) => each.open);
          to.replaceChildren(...from.childNodes);
          [...to.querySelectorAll("details")].forEach((each, i) => { each.open = open[i] ?? each.open; });
        }
      }
    } catch { /* the server is away; the stream says so, and comes back */ }
    running = false;
    if (again) { again = false; later(); }
  }
  function later() {
    if (waiting === null) waiting = setTimeout(() => { waiting = null; refresh(); }, 250);
  }

  if (main.dataset.live) {
    const source = new EventSource(main.dataset.live);
    let lost = false;
    source.addEventListener("open", () => { say("live"); if (lost) later(); lost = false; });
    source.addEventListener("error", () => { lost = true; say("connecting again"); });
    source.addEventListener("run", later);
    source.addEventListener("restart", later);
  }

  // The log grows at its end; it follows only whoever looks at its end.
  const log = document.getElementById("log");
  if (log && main.dataset.log) {
    // Progress is told by no event of its own.
    const ticking = setInterval(later, 2000);
    const source = new EventSource(main.dataset.log);
    const two = (n) => String(n).padStart(2, "0");
    let first = true;
    source.addEventListener("lines", (event) => {
      // The stream begins at the beginning, so what the page came with goes.
      if (first) { log.replaceChildren(); first = false; }
      const atEnd = log.scrollTop + log.clientHeight >= log.scrollHeight - 8;
      for (const line of JSON.parse(event.data)) {
        const at = new Date(line.at), row = document.createElement("span");
        const bad = line.level === "ERROR" || line.level === "CRITICAL";
        row.className = "line" + (bad ? " bad" : line.level === "WARNING" ? " odd" : "");
        const time = document.createElement("time"), attempt = document.createElement("b");
        time.dateTime = line.at;
        time.textContent = `${two(at.getHours())}:${two(at.getMinutes())}:${two(at.getSeconds())}`;
        attempt.textContent = `#${line.attempt}`;
        row.append(time, " ", attempt, ` ${line.text}\n`);
        log.append(row);
      }
      while (log.childElementCount > 5000) log.firstElementChild.remove();
      if (atEnd) log.scrollTop = log.scrollHeight;
    });
    source.addEventListener("end", () => { source.close(); clearInterval(ticking); later(); });
  }
})();
