// Ages, the clock, copy buttons, menus, and keyboard shortcuts of all pages. Pages work without this script.
"use strict";
(() => {
  const root = document.documentElement, main = document.getElementById("main");
  root.classList.add("js");

  // Ages use the clock of the server, because that of the browser may be wrong.
  const ahead = Date.now() - Number(root.dataset.now);
  const now = () => Date.now() - ahead;
  const UNITS = [[86400, "d"], [3600, "h"], [60, "min"], [1, "s"]];
  const ageOf = (seconds) => {
    const size = Math.abs(seconds);
    if (size < 5) return "just now";
    const [unit, name] = UNITS.find(([unit]) => size >= unit);
    const text = `${Math.floor(size / unit)} ${name}`;
    return seconds < 0 ? `in ${text}` : `${text} ago`;
  };
  const clock = document.getElementById("clock");
  const minutes = new Intl.DateTimeFormat("en-GB", { timeZone: main.dataset.zone, timeStyle: "short" });
  function tick() {
    if (document.hidden) return;
    for (const time of document.querySelectorAll("time.age")) {
      const text = ageOf((now() - Date.parse(time.dateTime)) / 1000);
      if (time.textContent !== text) time.textContent = text;
    }
    const text = minutes.format(now());
    if (clock.textContent !== text) clock.textContent = text;
  }
  setInterval(tick, 1000);
  document.addEventListener("visibilitychange", tick);

  async function put(text) {
    if (navigator.clipboard) return navigator.clipboard.writeText(text);
    // Browsers offer the clipboard only with TLS or on localhost.
    const field = document.createElement("textarea");
    field.value = text;
    document.body.append(field);
    field.select();
    document.execCommand("copy");
    field.remove();
  }

  document.addEventListener("click", async (event) => {
    const copy = event.target.closest("[data-copy]");
    if (copy) {
      await put(copy.dataset.copy);
      copy.querySelector("use")?.setAttribute("href", "#i-done");
      document.getElementById("said").textContent = "Copied";
      setTimeout(() => copy.querySelector("use")?.setAttribute("href", "#i-copy"), 1500);
    }
    if (event.target.closest("[data-keys]")) showKeys();
    for (const menu of document.querySelectorAll("details[data-menu][open]"))
      if (!menu.contains(event.target)) menu.open = false;
  });

  const keys = document.getElementById("keys");
  const showKeys = () => { if (keys && !keys.open) keys.showModal(); };
  const field = () => main.querySelector("[type=search]");
  if (location.hash === "#search") field()?.focus();

  // Rows have a key and a link. The first link of a row gets the focus.
  const rows = () => [...main.querySelectorAll("tr[data-key], li[data-key], .row[data-key]")]
    .map((row) => row.querySelector("a[href]")).filter((link) => link?.offsetParent);
  function step(by) {
    const links = rows();
    const current = document.activeElement.closest?.("[data-key]");
    const at = links.findIndex((link) => current?.contains(link));
    const next = links[at < 0 ? (by > 0 ? 0 : links.length - 1) : Math.min(Math.max(at + by, 0), links.length - 1)];
    next?.focus();
    next?.closest("[data-key]").scrollIntoView({ block: "nearest" });
  }
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented) return;
    if (event.key === "Escape")
      for (const menu of document.querySelectorAll("details[data-menu][open]")) menu.open = false;
    if (event.target.closest?.("input, textarea, select, [contenteditable], dialog")) return;
    if (event.key === "/") {
      event.preventDefault();
      const found = field(), jobs = document.querySelector(".main-nav a[href$='/jobs']");
      if (found) found.focus(); else if (jobs) location.href = `${jobs.href}#search`;
    } else if (event.key === "j" || event.key === "k") step(event.key === "j" ? 1 : -1);
    else if (event.key === "?") showKeys();
  });
})();
