// Heat maps: one canvas an array, whatever its size. The other scripts and the one-file export use `window.heatMaps`.
"use strict";
(() => {
  const STATUSES = ["SUBMITTED", "PENDING", "RUNNABLE", "STARTING", "RUNNING", "SUCCEEDED", "FAILED"];

  const maps = new Map(); // the page that children are opened by -> its heat map
  const cursors = new Map(); // the same -> the cell that the keyboard stands on

  function drawAll(root) {
    for (const box of root.querySelectorAll("[data-heat]")) if (!box.querySelector("canvas")) heatMap(box);
  }

  function heatMap(box) {
    const page = box.dataset.page;
    const canvas = document.createElement("canvas");
    const said = document.createElement("p");
    canvas.tabIndex = 0;
    canvas.id = "heat";
    canvas.setAttribute("role", "img");
    said.className = "heat-said";
    said.setAttribute("aria-live", "polite");
    said.textContent = "\u00a0";
    box.replaceChildren(canvas, said);
    const map = { cells: "", page, ranges: [], canvas, said, columns: 1, size: 8, isExport: "export" in box.dataset };
    read(map, box);
    const before = maps.get(page);
    if (before) before.sizes.disconnect();
    map.sizes = new ResizeObserver(() => draw(map));
    map.sizes.observe(box);
    maps.set(page, map);
    canvas.addEventListener("mousemove", (event) => say(map, at(map, event)));
    canvas.addEventListener("mouseleave", () => { said.textContent = "\u00a0"; });
    canvas.addEventListener("click", (event) => open(map, at(map, event)));
    canvas.addEventListener("focus", () => { if (!cursors.has(page)) cursors.set(page, 0); draw(map); say(map, cursors.get(page)); });
    canvas.addEventListener("blur", () => draw(map));
    canvas.addEventListener("keydown", (event) => key(map, event));
  }

  function read(map, box) {
    map.cells = box.dataset.heat;
    map.ranges = box.dataset.indexes.split(",").map((range) => range.split("-").map(Number));
    map.canvas.setAttribute("aria-label", box.dataset.label + ". Arrow keys go from child to child, Enter opens one.");
    draw(map);
  }

  function update(box) {
    const map = maps.get(box.dataset.page);
    if (map && box.contains(map.canvas)) read(map, box); else heatMap(box);
  }

  function fit(map, width) {
    const most = width < 500 ? 150 : 340; // pixels high: a phone has little room
    let size = 34;
    while (size > 2 && Math.ceil(map.cells.length / Math.max(1, Math.floor(width / size))) * size > most) size -= 1;
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
    const index = cursors.get(map.page) || 0;
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

  // The run's index of a cell.
  function indexOf(map, cell) {
    let left = cell;
    for (const [first, last = first] of map.ranges) {
      if (left <= last - first) return first + left;
      left -= last - first + 1;
    }
    return cell;
  }

  function say(map, index) {
    if (index < 0 || index >= map.cells.length) return;
    const code = codeOf(map.cells[index]);
    map.said.textContent = "child " + indexOf(map, index) + " · " + (code < 0 ? "not read yet" : STATUSES[code]) +
      (isAgain(map.cells[index]) ? " · more than one attempt" : "");
  }

  function open(map, index) {
    if (index >= 0 && !map.isExport) window.location.href = map.page + "/child?index=" + indexOf(map, index);
  }

  function key(map, event) {
    const now = cursors.get(map.page) || 0;
    const last = map.cells.length - 1;
    const moves = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: map.columns, ArrowUp: -map.columns, PageDown: map.columns * 10, PageUp: -map.columns * 10, Home: -now, End: last - now };
    if (event.key === "Enter") { open(map, now); return; }
    if (!(event.key in moves)) return;
    event.preventDefault();
    const next = Math.min(last, Math.max(0, now + moves[event.key]));
    cursors.set(map.page, next);
    draw(map);
    say(map, next);
  }

  window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => maps.forEach(draw));
  window.heatMaps = { drawAll, update };
  drawAll(document);
})();
