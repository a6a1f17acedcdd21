// The editor of job files: checks the text while somebody types. Without this script, "Review changes" does the same.
"use strict";
(() => {
  const form = document.getElementById("edit");
  if (!form) return;
  const PAUSE = 400, MOST_PROBLEMS = 100, MOST_LINES = 2000, LINE_HEIGHT = 20;
  const area = document.getElementById("text"), numbers = document.getElementById("numbers");
  const verdict = document.getElementById("verdict"), faults = document.getElementById("problems");
  const diff = document.getElementById("diff"), jobs = document.getElementById("jobs");
  const begin = area.defaultValue, name = document.querySelector("main h1").textContent;
  let problems = new Map(), asked = null, waiting = null, leaving = false, differs = diff.querySelector(".diff") !== null;

  const make = (tag, text = "", attributes = {}) => {
    const found = document.createElement(tag);
    if (text) found.textContent = text;
    for (const [key, value] of Object.entries(attributes)) found.setAttribute(key, value);
    return found;
  };
  const count = (number, noun) => `${number} ${noun}${number === 1 ? "" : "s"}`;

  // A line number for each line; those with problems carry a mark.
  let shown = "";
  function number() {
    const lines = area.value.split("\n").length - (area.value.endsWith("\n") ? 1 : 0) || 1;
    const key = lines + [...problems].join();
    if (key === shown) return;
    shown = key;
    const rows = document.createDocumentFragment();
    let plain = "";
    for (let line = 1; line <= lines; line++) {
      const severity = problems.get(line);
      if (!severity) { plain += `${line}\n`; continue; }
      rows.append(plain, make("b", `✕ ${line}`, { class: severity === "error" ? "bad" : "odd" }), "\n");
      plain = "";
    }
    rows.append(plain);
    numbers.replaceChildren(rows);
    area.rows = lines + 1;
  }

  // Offsets of the server are code points; those of a text area are UTF-16 units.
  const units = (text, points) => [...text].slice(0, points).join("").length;
  const startOf = (line) => area.value.split("\n").slice(0, line - 1).reduce((sum, text) => sum + text.length + 1, 0);
  function goTo(line, column = 1) {
    const at = Math.min(startOf(line) + column - 1, area.value.length);
    area.focus({ preventScroll: true });
    area.setSelectionRange(at, at);
    const box = area.parentElement;
    box.scrollTop = Math.max(0, (line - 1) * LINE_HEIGHT - box.clientHeight / 2);
    box.scrollIntoView({ block: "nearest" });
  }
  // Through a command, so that the browser can undo it.
  function write(start, end, text) {
    area.focus();
    area.setSelectionRange(start, end);
    if (!document.execCommand("insertText", false, text)) area.setRangeText(text, start, end, "end");
    changed();
  }

  function item(each) {
    const mine = each.file === name, row = make("li", "", { class: each.severity === "error" ? "bad" : "odd" });
    row.append(mine ? make("a", `Line ${each.line}`, { href: "#text", "data-line": each.line, "data-column": each.column }) : make("b", `${each.file}, line ${each.line}`), " ");
    if (each.severity !== "error") row.append(make("b", "Warning"), " ");
    const says = make("span", "", { class: "says" });
    if (each.path) says.append(make("code", each.path), " ");
    says.append(each.message);
    row.append(says);
    if (mine && each.replacement) {
      const { start, end, text } = each.replacement;
      const button = make("button", `Write ${text}`, { type: "button", class: "small" });
      button.addEventListener("click", () => {
        const line = area.value.split("\n")[each.line - 1] ?? "", first = startOf(each.line);
        if (line === each.source) write(first + units(line, start), first + units(line, end), text);
      });
      row.append(button);
    } else if (each.fix && !each.message.includes(each.fix)) row.append(make("span", each.fix, { class: "fix" }));
    return row;
  }

  function show(found) {
    const errors = found.problems.filter((each) => each.severity === "error").length, warnings = found.problems.length - errors;
    verdict.textContent = (errors ? count(errors, "problem") : "No problems") + (warnings ? `, ${count(warnings, "warning")}` : "");
    verdict.className = `push ${errors ? "bad" : "good"}`;
    problems = new Map();
    for (const each of found.problems) if (each.file === name && problems.get(each.line) !== "error") problems.set(each.line, each.severity);
    const list = make("ol", "", { class: "faults" });
    list.append(...found.problems.slice(0, MOST_PROBLEMS).map(item));
    if (found.problems.length > MOST_PROBLEMS) list.append(make("li", `and ${found.problems.length - MOST_PROBLEMS} more`));
    faults.replaceChildren(...(found.problems.length ? [list] : []));
    differs = found.diff.length > 0;
    const lines = make("pre", "", { class: "diff", tabindex: "0", role: "group", "aria-label": "Lines that change" });
    for (const line of found.diff.slice(0, MOST_LINES)) lines.append(make("span", `${line}\n`, { class: { "+": "add", "-": "del", "@": "hunk" }[line[0]] ?? "same" }));
    if (found.diff.length > MOST_LINES) lines.append(make("span", `and ${found.diff.length - MOST_LINES} more lines`, { class: "hunk" }));
    diff.replaceChildren(found.diff.length ? lines : make("p", "The text is that of the file.", { class: "none" }));
    const parts = ["added", "changed", "removed"].filter((key) => found.jobs[key].length).map((key) => {
      const names = found.jobs[key];
      return `${count(names.length, "job")} ${key}: ${names.slice(0, 5).join(", ")}${names.length > 5 ? ", …" : ""}`;
    });
    jobs.textContent = parts.join("; ");
    if ((found.digest ?? "") !== form.elements.digest.value) jobs.textContent = "The file was changed meanwhile by somebody else. " + jobs.textContent;
    number();
  }
  const say = (text) => { verdict.textContent = text; verdict.className = "push bad"; };

  async function check() {
    asked?.abort();
    const mine = asked = new AbortController();
    try {
      const answer = await fetch(form.dataset.check, {
        method: "POST", credentials: "same-origin", signal: mine.signal,
        headers: { "Content-Type": "application/json" }, body: JSON.stringify({ text: area.value }),
      });
      const found = await answer.json();
      if (mine !== asked) return;
      if (answer.ok) show(found);
      else say(answer.status === 401 ? "Log in again to have it checked" : found.error?.message ?? "It cannot be checked");
    } catch (error) {
      if (error.name !== "AbortError" && mine === asked) say("The server does not answer");
    }
  }
  function changed() {
    number();
    clearTimeout(waiting);
    waiting = setTimeout(check, PAUSE);
  }

  area.addEventListener("input", changed);
  area.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && !event.isComposing && !event.ctrlKey && !event.metaKey && !event.shiftKey) {
      // The next line begins where this one does, and deeper below a key without a value.
      const before = area.value.slice(0, area.selectionStart).split("\n").pop();
      const indent = /^ */.exec(before)[0] + (/:\s*$/.test(before) ? "  " : "");
      if (indent) { event.preventDefault(); write(area.selectionStart, area.selectionEnd, `\n${indent}`); }
    }
  });
  document.addEventListener("keydown", (event) => {
    if ((event.ctrlKey || event.metaKey) && event.key === "s") { event.preventDefault(); form.querySelector('[value="save"]').click(); }
  });
  document.addEventListener("click", (event) => {
    const link = event.target.closest("a[data-line]");
    if (link) { event.preventDefault(); goTo(Number(link.dataset.line), Number(link.dataset.column)); }
  });
  form.addEventListener("submit", () => { leaving = true; });
  addEventListener("beforeunload", (event) => { if (!leaving && (differs || area.value !== begin)) event.preventDefault(); });
  number();
  check();
  const line = /^#L(\d+)$/.exec(location.hash);
  if (line) goTo(Number(line[1]));
})();
