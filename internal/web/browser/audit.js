// Looks at the page that it is run in and returns what is wrong with it.
(() => {
  const found = { overflow: [], contrast: [], texts: 0, lowest: 99, figures: [], pictures: 0, faults: [] };
  for (const d of document.querySelectorAll("details")) d.open = true;
  const name = (e) => e.tagName.toLowerCase() + (e.id ? "#" + e.id : "") + (e.className && e.className.baseVal === undefined && e.className ? "." + e.className : "");

  // Nothing is wider than the window, unless it is in a box of its own that scrolls.
  const wide = document.documentElement.clientWidth;
  if (document.documentElement.scrollWidth > wide) found.overflow.push("the document is " + document.documentElement.scrollWidth + " px wide in " + wide);
  for (const e of document.body.querySelectorAll("*")) {
    const box = e.getBoundingClientRect();
    if (box.right > wide + 0.5 && box.width > 0 && !e.closest(".scroll, .skip, svg") ) found.overflow.push(name(e) + " ends at " + box.right);
    if (e.matches(".scroll") && (box.right > wide + 0.5 || box.left < 0)) found.overflow.push(name(e) + " is no box within the page");
    if (!e.closest(".scroll, svg, .skip") && e.clientWidth > 0 && e.scrollWidth > e.clientWidth + 1 && getComputedStyle(e).display !== "inline") found.overflow.push(name(e) + " holds more than fits");
  }

  // Contrast of every text with what is behind it, by WCAG 2.
  const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  const colour = (css) => {
    canvas.clearRect(0, 0, 1, 1);
    canvas.fillStyle = css;
    canvas.fillRect(0, 0, 1, 1);
    return [...canvas.getImageData(0, 0, 1, 1).data];
  };
  const light = ([r, g, b]) => {
    const c = [r, g, b].map((v) => (v /= 255) <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
    return 0.2126 * c[0] + 0.7152 * c[1] + 0.0722 * c[2];
  };
  const behind = (e) => {
    for (; e; e = e.parentElement) {
      const c = colour(getComputedStyle(e).backgroundColor);
      if (c[3] === 255) return c;
      if (c[3] !== 0) found.faults.push(name(e) + " has a translucent background, which this cannot judge");
    }
    return [255, 255, 255, 255];
  };
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const e = walker.currentNode.parentElement;
    if (!walker.currentNode.textContent.trim() || e.closest("script, style, noscript, title, desc")) continue;
    const style = getComputedStyle(e);
    if (style.visibility === "hidden" || style.display === "none") continue;
    found.texts++;
    const front = colour(e.closest("svg") ? style.fill : style.color), back = behind(e);
    const [high, low] = [light(front), light(back)].sort((a, b) => b - a);
    const ratio = (high + 0.05) / (low + 0.05);
    found.lowest = Math.min(found.lowest, ratio);
    if (ratio < 4.5) found.contrast.push(name(e) + " " + ratio.toFixed(2) + " " + JSON.stringify(walker.currentNode.textContent.trim().slice(0, 40)));
    for (let p = e; p; p = p.parentElement) {
      if (getComputedStyle(p).opacity !== "1") { found.faults.push(name(p) + " is translucent, which this cannot judge"); break; }
    }
  }

  // Every figure of a picture stands in the table beside it.
  for (const svg of document.querySelectorAll("svg[data-figure]")) {
    found.pictures++;
    const id = svg.dataset.figure;
    const table = document.querySelector('table[data-figure="' + CSS.escape(id) + '"]');
    const labels = (svg.getAttribute("aria-labelledby") || "").split(" ").map((l) => document.getElementById(l));
    if (svg.getAttribute("role") !== "img" || labels.length !== 2 || labels.some((l) => !l || !l.textContent.trim() || l.parentElement !== svg)) found.faults.push(id + " has no title and description");
    if (!table) { found.figures.push(id + " has no table"); continue; }
    const cells = new Set([...table.querySelectorAll("td")].map((c) => c.textContent.split("\u00a0")[0].trim()));
    for (const title of svg.querySelectorAll("title")) {
      if (title.parentElement === svg) continue;
      for (const [, figure] of title.textContent.matchAll(/([0-9:\u202f]+)\u00a0(?:h|rows?|entr(?:y|ies))/g)) {
        if (figure !== "0:00" && !cells.has(figure)) found.figures.push(id + ": " + figure + " of " + title.textContent);
      }
    }
    // The bars of one column are as long as the table says, within the pixels there are.
    if (table.tFoot && !svg.querySelectorAll("rect").length) found.figures.push(id + " draws nothing");
  }

  // The page as a whole.
  if (document.documentElement.lang !== "en") found.faults.push("no language");
  for (const landmark of ["header", "main", "footer", "h1"]) {
    if (document.querySelectorAll("body " + landmark).length !== 1) found.faults.push("not one " + landmark);
  }
  let level = 1;
  for (const h of document.querySelectorAll("h1, h2, h3, h4")) {
    const n = Number(h.tagName[1]);
    if (n > level + 1) found.faults.push("a heading of level " + n + " below one of level " + level);
    level = n;
  }
  const ids = [...document.querySelectorAll("[id]")].map((e) => e.id);
  for (const id of ids) if (ids.indexOf(id) !== ids.lastIndexOf(id)) found.faults.push("two elements are called " + id);
  for (const e of document.querySelectorAll("[aria-labelledby]")) {
    for (const id of e.getAttribute("aria-labelledby").split(" ")) if (!document.getElementById(id)) found.faults.push(name(e) + " is labelled by " + id + ", which is not there");
  }
  for (const e of document.querySelectorAll(".scroll")) {
    if (e.tabIndex !== 0 || !e.getAttribute("aria-label")) found.faults.push(name(e) + " cannot be scrolled with the keyboard");
  }
  for (const table of document.querySelectorAll("table")) {
    if (!table.querySelector("thead th[scope=col]")) found.faults.push("a table has no head");
  }
  return found;
})()
