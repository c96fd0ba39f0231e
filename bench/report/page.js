"use strict";
// Tables that can be sorted by a click on a heading, narrowed by words and by choice, and shown with fewer columns.
// Of a long table the first rows are shown, so that each of these stays quick; all of them are printed.
const SHOWN = 500;
for (const form of document.querySelectorAll("form.controls")) {
  const table = document.getElementById(form.dataset.table);
  const body = table.tBodies[0];
  const heads = [...table.tHead.rows[0].cells];
  const narrow = Number(form.dataset.narrow);
  const rows = [...body.rows].map((row, place) => ({
    row, place, words: row.cells[0].textContent.toLowerCase(), choice: row.cells[narrow].textContent,
  }));
  const output = form.querySelector("output");
  const more = form.querySelector("button[name=more]");
  let order = rows;
  let most = SHOWN;
  const collator = new Intl.Collator("en", { numeric: true });

  // A cell's value: exactly as it is, where the text that is shown is rounded.
  function keyOf(cell, isText) {
    const text = cell.dataset.v ?? cell.textContent;
    if (isText) return text;
    const plain = text.replaceAll(",", "");
    if (plain === "") return null;
    if (/^-?\d{16,}$/.test(plain)) return BigInt(plain);
    const number = Number(plain);
    return Number.isNaN(number) ? text : number;
  }

  function compare(a, b) {
    if (typeof a === "string" || typeof b === "string") return collator.compare(String(a), String(b));
    return a < b ? -1 : a > b ? 1 : 0;
  }

  function sorted(column, direction) {
    const isText = heads[column].classList.contains("t");
    const keyed = rows.map((entry) => ({ entry, key: keyOf(entry.row.cells[column], isText) }));
    const sign = direction === "descending" ? -1 : 1;
    keyed.sort((a, b) => {
      if (a.key === null || b.key === null) return (a.key === null) - (b.key === null) || a.entry.place - b.entry.place;
      return sign * compare(a.key, b.key) || a.entry.place - b.entry.place;
    });
    return keyed.map(({ entry }) => entry);
  }

  function show() {
    let fitting = 0;
    for (const { row, fits } of order) {
      fitting += fits;
      row.hidden = !fits;
      row.classList.toggle("beyond", fits && fitting > most);
    }
    body.append(...order.map(({ row }) => row));
    more.hidden = fitting <= most;
    const number = (count) => count.toLocaleString("en");
    const part = fitting > most ? `, the first ${number(most)} shown` : "";
    output.textContent = `${number(fitting)} of ${number(rows.length)} rows${part}`;
  }

  // Ascending, descending, as it was.
  function turn(column) {
    const next = { none: "ascending", ascending: "descending", descending: "none" }[heads[column].getAttribute("aria-sort")];
    heads.forEach((head, place) => { head.setAttribute("aria-sort", place === column ? next : "none"); });
    order = next === "none" ? rows : sorted(column, next);
    show();
  }

  function narrowDown() {
    const words = form.elements.words.value.toLowerCase().split(/\s+/).filter(Boolean);
    const chosen = new Set([...form.querySelectorAll("[name=value]:checked")].map((box) => box.value));
    for (const entry of rows) {
      entry.fits = chosen.has(entry.choice) && words.every((word) => entry.words.includes(word));
    }
    show();
    for (const box of form.querySelectorAll("[name=group]")) table.classList.toggle(`hides-${box.value}`, !box.checked);
  }

  heads.forEach((head, column) => head.querySelector("button").addEventListener("click", () => turn(column)));
  form.addEventListener("input", narrowDown);
  more.addEventListener("click", () => { most = Infinity; show(); });
  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("reset", () => setTimeout(() => {
    heads.forEach((head) => head.setAttribute("aria-sort", "none"));
    order = rows;
    most = SHOWN;
    narrowDown();
  }));
  // The second column stays in sight beside the first one, however wide that is.
  new ResizeObserver(() => table.style.setProperty("--first", `${heads[0].offsetWidth}px`)).observe(heads[0]);
  form.hidden = false;
  narrowDown();
}
