"use strict";
for (const table of document.querySelectorAll("table.sortable")) {
  const body = table.tBodies[0];
  const heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, column) => {
    const button = document.createElement("button");
    button.textContent = head.textContent;
    head.replaceChildren(button);
    button.addEventListener("click", () => {
      const numeric = head.classList.contains("n");
      const before = head.getAttribute("aria-sort");
      const down = before ? before === "ascending" : numeric && column > 0;
      heads.forEach((other) => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", down ? "descending" : "ascending");
      const value = (row) => row.cells[column].dataset.v ?? row.cells[column].textContent;
      const rows = [...body.rows].map((row) => [value(row), row]);
      rows.sort(([a], [b]) => {
        if (a === "" || b === "") return (a === "") - (b === "");
        const order = numeric ? a - b : a.localeCompare(b);
        return down ? -order : order;
      });
      body.append(...rows.map(([, row]) => row));
    });
  });
}
const nets = document.querySelector(".nets");
if (nets) {
  const links = [...document.querySelectorAll(".chart a[href^='#net-']")];
  const show = (link) => {
    const figure = nets.querySelector(link.getAttribute("href"));
    nets.querySelectorAll(".on").forEach((other) => other.classList.remove("on"));
    links.forEach((other) => other.classList.toggle("shown", other === link));
    figure.classList.add("on");
    return figure;
  };
  for (const link of links) {
    link.addEventListener("pointerenter", (event) => {
      if (event.pointerType === "mouse") show(link);
    });
    link.addEventListener("focus", () => show(link));
    link.addEventListener("click", (event) => {
      event.preventDefault();
      const figure = show(link);
      if (figure.getBoundingClientRect().top > innerHeight - 150) {
        figure.scrollIntoView({ block: "end" });
      }
    });
  }
}
if (navigator.clipboard) {
  for (const block of document.querySelectorAll("pre")) {
    const button = document.createElement("button");
    button.className = "copy";
    button.textContent = "Copy";
    button.addEventListener("click", async () => {
      await navigator.clipboard.writeText(block.querySelector("code").textContent);
      button.textContent = "Copied";
    });
    block.prepend(button);
  }
}
