"use strict";
// Tables are sorted by a click on a column's head; without this script they stand in their first order.
for (const table of document.querySelectorAll("table.sorts")) {
  const body = table.tBodies[0];
  const heads = [...table.tHead.rows[0].cells];
  const first = [...body.rows];
  heads.forEach((head, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => {
      const now = head.getAttribute("aria-sort");
      const next = now === "descending" ? "ascending" : now === "ascending" ? null : "descending";
      heads.forEach((other) => other.removeAttribute("aria-sort"));
      if (next) head.setAttribute("aria-sort", next);
      body.append(...(next ? sorted(first, column, next === "ascending" ? 1 : -1) : first));
    });
  });
}
function sorted(rows, column, sign) {
  const key = (row) => {
    const cell = row.cells[column];
    return cell.dataset.value === undefined ? cell.textContent.trim() : Number(cell.dataset.value);
  };
  // Words that are no numbers, such as "undefined", stay below the numbers.
  const numeric = rows.some((row) => typeof key(row) === "number");
  const place = (value) => (numeric && typeof value !== "number" ? 1 : 0);
  return [...rows].sort((one, other) => {
    const [a, b] = [key(one), key(other)];
    if (place(a) || place(b)) return place(a) - place(b);
    return sign * (typeof a === "number" ? a - b : a.localeCompare(b));
  });
}
// What is folded up on the screen is printed in full.
const closed = () => [...document.querySelectorAll("details:not([open])")];
let opened = [];
window.addEventListener("beforeprint", () => { opened = closed(); opened.forEach((one) => { one.open = true; }); });
window.addEventListener("afterprint", () => { opened.forEach((one) => { one.open = false; }); });
