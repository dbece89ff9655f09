"use strict";
// Sorting: a click on a header sorts by it, another one turns the order round. Cells without a number go last.
for (const table of document.querySelectorAll("table.sortable")) {
  const heads = table.tHead ? [...table.tHead.rows[0].cells] : [];
  heads.forEach((head, place) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => {
      const turned = head.getAttribute("aria-sort") === "ascending";
      heads.forEach((other) => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", turned ? "descending" : "ascending");
      const rows = [...table.tBodies[0].rows];
      const numeric = rows.some((row) => row.cells[place].dataset.value !== undefined);
      const worth = (row) => (numeric ? parseFloat(row.cells[place].dataset.value) : row.cells[place].textContent);
      rows.sort((left, right) => {
        const [a, b] = [worth(left), worth(right)];
        if (numeric && (isNaN(a) || isNaN(b))) return isNaN(a) - isNaN(b);
        const order = numeric ? a - b : a.localeCompare(b, undefined, { numeric: true });
        return turned ? -order : order;
      });
      table.tBodies[0].append(...rows);
    });
  });
}
// Figures, where the page carries plotly.js.
if (window.Plotly) {
  const settings = {
    responsive: true,
    displaylogo: false,
    modeBarButtonsToRemove: ["select2d", "lasso2d", "autoScale2d"],
    showSendToCloud: false, // what a report shows stays in it
    plotlyServerURL: "",
  };
  for (const holder of document.querySelectorAll('script[type="application/json"][data-for]')) {
    const { data, layout } = JSON.parse(holder.textContent);
    Plotly.newPlot(document.getElementById(holder.dataset.for), data, layout, settings);
  }
}
// Light or dark: what the system says, until somebody says otherwise.
const theme = document.getElementById("theme");
theme.hidden = false;
theme.addEventListener("click", () => {
  const root = document.documentElement;
  const dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  root.dataset.theme = dark ? "light" : "dark";
});
