"use strict";
// Filters and sorts the decisions; without it the page shows them all, the costliest first.
(() => {
  const list = document.getElementById("decisions");
  if (!list) return;
  const filters = document.getElementById("filters");
  const rows = [...list.children];
  const words = new Map();
  const said = row => {
    if (!words.has(row)) words.set(row, row.textContent.toLowerCase());
    return words.get(row);
  };

  const filter = () => {
    const form = new FormData(filters);
    const verdicts = new Set(form.getAll("verdict"));
    const wanted = form.get("search").toLowerCase().split(/\s+/).filter(Boolean);
    const visits = Number(form.get("visits")) / 100;
    const cost = Number(form.get("cost"));
    const others = row =>
      ["task", "teacher"].every(name => !form.get(name) || row.dataset[name] === form.get(name)) &&
      (!form.get("status") || row.dataset.status.split(" ").includes(form.get("status"))) &&
      Number(row.dataset.visits) >= visits && (!cost || Number(row.dataset.cost) >= cost) &&
      wanted.every(word => said(row).includes(word));
    const counts = {};
    let shown = 0;
    for (const row of rows) {
      const fits = others(row);
      if (fits) counts[row.dataset.verdict] = (counts[row.dataset.verdict] || 0) + 1;
      row.hidden = !(fits && verdicts.has(row.dataset.verdict));
      shown += !row.hidden;
    }
    for (const place of filters.querySelectorAll("[data-count]")) place.textContent = counts[place.dataset.count] || 0;
    document.getElementById("count").textContent = `${shown} of ${rows.length} decisions`;
    document.getElementById("none").hidden = shown > 0;
  };

  const value = (row, by) => {
    if (by === "decision") return row.dataset.decision;
    if (by === "verdict") return Number(row.dataset.rank);
    return row.dataset[by] === "" ? -Infinity : Number(row.dataset[by]);
  };
  const heads = [...document.querySelectorAll("[data-sort]")];
  const sort = (head, ascending) => {
    const by = head.dataset.sort, sign = ascending ? 1 : -1;
    const compare = (a, b) => (a < b ? -1 : a > b ? 1 : 0);
    // A stable sort: among equals the order in which the page was written, the costliest first.
    list.append(...[...rows].sort((a, b) => sign * compare(value(a, by), value(b, by))));
    for (const each of heads) {
      each.setAttribute("aria-pressed", each === head);
      each.lastElementChild.textContent = each === head ? (ascending ? " ↑" : " ↓") : "";
    }
    head.dataset.now = ascending ? "up" : "down";
  };

  for (const head of heads) {
    head.addEventListener("click", () => {
      const again = head.getAttribute("aria-pressed") === "true";
      sort(head, again ? head.dataset.now !== "up" : "ascending" in head.dataset);
    });
  }
  filters.addEventListener("input", filter);
  // The form is reset after the event.
  filters.addEventListener("reset", () => setTimeout(filter));
  filters.addEventListener("submit", event => event.preventDefault());
  const legend = document.getElementById("legend"), button = document.getElementById("legend-button");
  button.addEventListener("click", () => {
    legend.hidden = !legend.hidden;
    button.setAttribute("aria-expanded", !legend.hidden);
  });
  filter();
  sort(heads.find(head => head.dataset.sort === "lost"), false);
})();
