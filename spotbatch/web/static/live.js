// News for an open page (server-sent events): each region is morphed into what the server says now, so that whatever a
// person opened, focused, selected, typed or scrolled to stays as it is.
"use strict";
(() => {
  const TYPING_MILLISECONDS = 250; // of silence, then what was typed is searched
  const END_PIXELS = 8; // so near to its end, a log follows it

  const held = new Map(); // region -> its news, of which a text that is selected did not take its part

  function take(news) {
    for (const [name, html] of Object.entries(news)) {
      const region = document.getElementById("r-" + name);
      if (region) morph(region, html);
    }
  }

  function morph(region, html) {
    const following = [...region.querySelectorAll(".log")].filter(isAtEnd);
    held.delete(region);
    Idiomorph.morph(region, html, {
      morphStyle: "innerHTML",
      callbacks: {
        beforeAttributeUpdated: isOurs,
        beforeNodeMorphed: (old, now) => {
          if (isSelected(old, region) && old.nodeValue !== now.nodeValue) { held.set(region, html); return false; }
          return !isHeatMap(old, now);
        },
        afterNodeAdded: added,
      },
    });
    for (const log of following) log.scrollTop = log.scrollHeight;
  }

  const isAtEnd = (log) => log.scrollTop + log.clientHeight >= log.scrollHeight - END_PIXELS;

  // What is open, and what fields hold, is the person's: the server's HTML has it as it was in the beginning.
  function isOurs(name, element) {
    if (name === "open") return element.tagName !== "DETAILS";
    return !(["value", "checked", "selected"].includes(name) && ["INPUT", "TEXTAREA", "OPTION"].includes(element.tagName));
  }

  // Selected text, being copied, is not changed; where more than this region is selected (all of the page), it is news.
  function isSelected(node, region) {
    const selection = document.getSelection();
    return node.nodeType === Node.TEXT_NODE && !selection.isCollapsed && region.contains(selection.anchorNode) &&
      region.contains(selection.focusNode) && selection.containsNode(node, true);
  }

  // A heat map's canvas stays, with its focus, and is painted anew.
  function isHeatMap(old, now) {
    if (old.nodeType !== Node.ELEMENT_NODE || !old.matches("[data-heat]") || !now.matches("[data-heat]")) return false;
    for (const each of now.attributes) old.setAttribute(each.name, each.value);
    window.heatMaps.update(old);
    return true;
  }

  function added(node) {
    if (node.nodeType !== Node.ELEMENT_NODE) return;
    window.heatMaps.drawAll(node.matches("[data-heat]") ? node.parentElement : node);
    for (const log of node.matches(".log") ? [node] : node.querySelectorAll(".log")) log.scrollTop = log.scrollHeight;
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

  let source = null;

  function listen() {
    const start = () => {
      if (source || document.hidden) return;
      source = new EventSource(document.body.dataset.live);
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
    // What is searched, filtered and sorted by stands in the address, and the news are of that.
    const choose = (query) => {
      const [path] = document.body.dataset.live.split("?");
      document.body.dataset.live = path + query;
      window.history.replaceState(null, "", window.location.pathname + query);
      if (source) { source.close(); source = null; }
      start();
    };
    let typing = 0;
    const chosen = (form) => {
      const pairs = [...new FormData(form)].filter(([, value]) => value !== "");
      choose(pairs.length ? "?" + new URLSearchParams(pairs) : "");
    };
    document.addEventListener("input", (event) => {
      const form = event.target.closest("form[data-choice]");
      if (form) { window.clearTimeout(typing); typing = window.setTimeout(() => chosen(form), TYPING_MILLISECONDS); }
    });
    document.addEventListener("submit", (event) => {
      if (event.target.matches("form[data-choice]")) { event.preventDefault(); chosen(event.target); }
    });
    document.addEventListener("click", (event) => {
      const link = event.target.closest("a[data-choice]");
      if (!link || event.ctrlKey || event.metaKey || event.shiftKey) return;
      event.preventDefault();
      choose(new URL(link.href).search);
    });
    start();
  }

  document.addEventListener("selectionchange", () => {
    if (document.getSelection().isCollapsed) for (const [region, html] of [...held]) morph(region, html);
  });
  for (const log of document.querySelectorAll(".log")) log.scrollTop = log.scrollHeight;
  if (document.body.dataset.live) listen();
})();
