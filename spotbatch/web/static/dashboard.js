// News for the page (server-sent events), and the heat maps. Everything else is HTML from the server.
"use strict";
(() => {
  const STATUSES = ["SUBMITTED", "PENDING", "RUNNABLE", "STARTING", "RUNNING", "SUCCEEDED", "FAILED"];

  // ---- heat maps: one canvas an array, whatever its size ----

  const maps = new Map(); // array id -> its heat map on the page
  const cursors = new Map(); // array id -> the child that the keyboard stands on

  function drawAll(root) {
    for (const box of root.querySelectorAll("[data-heat]")) heatMap(box);
  }

  function heatMap(box) {
    const cells = box.dataset.heat;
    const array = box.dataset.array;
    const canvas = document.createElement("canvas");
    const said = document.createElement("p");
    canvas.tabIndex = 0;
    canvas.id = "heat-" + array;
    canvas.setAttribute("role", "img");
    canvas.setAttribute("aria-label", box.dataset.label + ". Arrow keys go from child to child, Enter opens one.");
    said.className = "heat-said";
    said.setAttribute("aria-live", "polite");
    said.textContent = "\u00a0";
    box.replaceChildren(canvas, said);
    const map = { cells, array, canvas, said, columns: 1, size: 8, isExport: "export" in box.dataset };
    draw(map);
    const before = maps.get(array);
    if (before) before.sizes.disconnect();
    map.sizes = new ResizeObserver(() => draw(map));
    map.sizes.observe(box);
    maps.set(array, map);
    canvas.addEventListener("mousemove", (event) => say(map, at(map, event)));
    canvas.addEventListener("mouseleave", () => { said.textContent = "\u00a0"; });
    canvas.addEventListener("click", (event) => open(map, at(map, event)));
    canvas.addEventListener("focus", () => { if (!cursors.has(array)) cursors.set(array, 0); draw(map); say(map, cursors.get(array)); });
    canvas.addEventListener("blur", () => draw(map));
    canvas.addEventListener("keydown", (event) => key(map, event));
  }

  function fit(map, width) {
    let size = 34;
    while (size > 2 && Math.ceil(map.cells.length / Math.max(1, Math.floor(width / size))) * size > 340) size -= 1;
    map.size = size;
    map.columns = Math.max(1, Math.floor(width / size));
  }

  function draw(map) {
    const width = map.canvas.parentElement ? map.canvas.parentElement.clientWidth - 8 : 0; // room for the focus ring
    if (width <= 0) return;
    fit(map, width);
    const rows = Math.ceil(map.cells.length / map.columns);
    const scale = window.devicePixelRatio || 1;
    map.canvas.width = width * scale;
    map.canvas.height = rows * map.size * scale;
    map.canvas.style.width = width + "px";
    map.canvas.style.height = rows * map.size + "px";
    const pen = map.canvas.getContext("2d");
    const style = getComputedStyle(document.documentElement);
    const colours = STATUSES.map((status) => style.getPropertyValue("--" + status).trim());
    const unseen = style.getPropertyValue("--unseen").trim();
    const again = style.getPropertyValue("--again").trim();
    const gap = map.size > 14 ? 3 : map.size > 4 ? 1 : map.size > 2 ? 0.5 : 0;
    pen.scale(scale, scale);
    for (let index = 0; index < map.cells.length; index += 1) {
      const x = (index % map.columns) * map.size;
      const y = Math.floor(index / map.columns) * map.size;
      const code = codeOf(map.cells[index]);
      pen.fillStyle = code < 0 ? unseen : colours[code];
      const side = map.size - gap;
      if (map.size > 10) { pen.beginPath(); pen.roundRect(x, y, side, side, 3); pen.fill(); } else { pen.fillRect(x, y, side, side); }
      if (isAgain(map.cells[index])) {
        const mark = Math.max(1.5, side / 3);
        pen.fillStyle = again;
        pen.fillRect(x + side - mark, y, mark, mark);
      }
    }
    if (document.activeElement === map.canvas) ring(map, pen, style);
  }

  function ring(map, pen, style) {
    const index = cursors.get(map.array) || 0;
    const x = (index % map.columns) * map.size;
    const y = Math.floor(index / map.columns) * map.size;
    pen.lineWidth = 2;
    pen.strokeStyle = style.getPropertyValue("--text").trim();
    pen.strokeRect(x + 0.5, y + 0.5, Math.max(4, map.size - 2), Math.max(4, map.size - 2));
  }

  const codeOf = (cell) => (cell === "." ? -1 : isAgain(cell) ? cell.charCodeAt(0) - 97 : Number(cell));
  const isAgain = (cell) => cell >= "a" && cell <= "g";

  function at(map, event) {
    const column = Math.min(map.columns - 1, Math.max(0, Math.floor(event.offsetX / map.size)));
    const index = Math.floor(event.offsetY / map.size) * map.columns + column;
    return index >= 0 && index < map.cells.length ? index : -1;
  }

  function say(map, index) {
    if (index < 0 || index >= map.cells.length) return;
    const code = codeOf(map.cells[index]);
    map.said.textContent = "child " + index + " · " + (code < 0 ? "not seen yet" : STATUSES[code]) +
      (isAgain(map.cells[index]) ? " · more than one attempt" : "");
  }

  function open(map, index) {
    if (index >= 0 && !map.isExport) window.location.href = "/jobs/" + map.array + ":" + index;
  }

  function key(map, event) {
    const now = cursors.get(map.array) || 0;
    const last = map.cells.length - 1;
    const moves = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: map.columns, ArrowUp: -map.columns, PageDown: map.columns * 10, PageUp: -map.columns * 10, Home: -now, End: last - now };
    if (event.key === "Enter") { open(map, now); return; }
    if (!(event.key in moves)) return;
    event.preventDefault();
    const next = Math.min(last, Math.max(0, now + moves[event.key]));
    cursors.set(map.array, next);
    draw(map);
    say(map, next);
  }

  // ---- news ----

  function take(news) {
    for (const [name, html] of Object.entries(news)) {
      const region = document.getElementById("r-" + name);
      if (region) replace(region, html);
    }
  }

  function replace(region, html) {
    const active = document.activeElement;
    const focus = active && region.contains(active) ? { id: active.id, href: active.getAttribute("href") } : null;
    if (focus && active.tagName === "INPUT") return; // somebody types: the next news come soon
    const opened = [...region.querySelectorAll("details[open]")].map((each) => each.id);
    const log = region.querySelector(".log");
    const scroll = log ? { top: log.scrollTop, isAtEnd: log.scrollTop + log.clientHeight >= log.scrollHeight - 8 } : null;
    region.innerHTML = html;
    for (const id of opened) { const found = document.getElementById(id); if (found) found.open = true; }
    drawAll(region);
    showLog(region, scroll);
    if (focus) refocus(region, focus);
  }

  function showLog(region, scroll) {
    const log = region.querySelector(".log");
    if (log) log.scrollTop = scroll && !scroll.isAtEnd ? scroll.top : log.scrollHeight;
  }

  function refocus(region, focus) {
    const found = focus.id ? document.getElementById(focus.id)
      : [...region.querySelectorAll("a[href]")].find((each) => each.getAttribute("href") === focus.href) || region.querySelector("summary");
    if (found) found.focus({ preventScroll: true });
  }

  function lost() {
    const notice = document.getElementById("r-notice");
    if (!notice || notice.querySelector(".lost")) return;
    const line = document.createElement("p");
    line.className = "trouble lost";
    line.setAttribute("role", "status");
    line.textContent = "The dashboard's own server does not answer: is `spotbatch dashboard` still running? Trying again.";
    notice.replaceChildren(line);
  }

  function listen(url) {
    let source = null;
    const start = () => {
      if (source || document.hidden) return;
      source = new EventSource(url);
      source.onmessage = (event) => { take(JSON.parse(event.data)); document.body.dataset.heard = String(Number(document.body.dataset.heard || 0) + 1); };
      source.onerror = () => {
        lost();
        if (source && source.readyState === EventSource.CLOSED) { source = null; window.setTimeout(start, 3000); }
      };
    };
    // A page in the background lets go of its connection: browsers have six for a server, and AWS is not asked for it.
    document.addEventListener("visibilitychange", () => {
      if (!document.hidden) { start(); } else if (source) { source.close(); source = null; }
    });
    start();
  }

  window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => maps.forEach(draw));
  drawAll(document);
  showLog(document, null);
  if (document.body.dataset.live) listen(document.body.dataset.live);
})();
