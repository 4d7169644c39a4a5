"use strict";
(() => {
  const collator = new Intl.Collator("en", { numeric: true, sensitivity: "base" });
  const keyOf = (row, column) => {
    const cell = row.cells[column];
    const value = cell.dataset.v;
    if (value === undefined) return cell.textContent;
    return value === "" ? null : Number(value);
  };
  const compare = (one, other, sign) => {
    if (one === null || other === null) return (one === null) - (other === null);
    const order = typeof one === "number" && typeof other === "number" ? one - other
      : collator.compare(String(one), String(other));
    return sign * order;
  };
  for (const part of document.querySelectorAll("[data-table]")) {
    const table = part.querySelector("table");
    const body = table.tBodies[0];
    const rows = Array.from(body.rows);
    const headers = Array.from(table.tHead.rows[0].cells);
    headers.forEach((header, column) => {
      const button = header.querySelector("button");
      button.disabled = false;
      button.addEventListener("click", () => {
        const before = header.getAttribute("aria-sort");
        const numeric = header.classList.contains("n");
        const first = numeric ? "descending" : "ascending";
        const second = numeric ? "ascending" : "descending";
        const direction = before === first ? second : first;
        headers.forEach((other) => other.removeAttribute("aria-sort"));
        header.setAttribute("aria-sort", direction);
        const sign = direction === "ascending" ? 1 : -1;
        const keyed = rows.map((row) => [keyOf(row, column), row]);
        keyed.sort((one, other) => compare(one[0], other[0], sign));
        body.append(...keyed.map((pair) => pair[1]));
      });
    });
    const input = part.querySelector("input");
    const status = part.querySelector("[data-status]");
    const texts = rows.map((row) => row.textContent.toLowerCase());
    const all = status.textContent;
    input.disabled = false;
    input.addEventListener("input", () => {
      const words = input.value.toLowerCase().split(/\s+/).filter(Boolean);
      let shown = 0;
      rows.forEach((row, place) => {
        row.hidden = !words.every((word) => texts[place].includes(word));
        shown += row.hidden ? 0 : 1;
      });
      status.textContent = words.length === 0 ? all : shown + " of " + all;
    });
  }
})();
