// A reading aid over charts: the column under the pointer, told from the chart's own table. Without it, titles tell it.
(() => {
  const tip = document.createElement("div");
  tip.className = "pn-tip";
  tip.hidden = true;
  tip.setAttribute("aria-hidden", "true");

  const row = (colour, name, value) => {
    const line = document.createElement("div");
    const swatch = document.createElement("span");
    swatch.className = colour === undefined ? "pn-swatch" : `pn-swatch pn-fill-${colour}`;
    const label = document.createElement("span");
    label.textContent = name;
    const figure = document.createElement("span");
    figure.textContent = value;
    line.append(swatch, label, figure);
    return line;
  };

  const fill = (chart, index) => {
    const table = chart.querySelector(".pn-twin table");
    const head = document.createElement("b");
    head.textContent = table.tHead.rows[0].cells[index + 1].textContent;
    tip.replaceChildren(head);
    for (const line of table.tBodies[0].rows) {
      const value = line.cells[index + 1].textContent;
      if (line.dataset.total !== undefined) {
        const total = row(undefined, "Total", value);
        total.classList.add("pn-tip-total");
        if (table.tBodies[0].rows.length > 2) tip.append(total);
      } else if (!["–", "$0", "0", "0 %"].includes(value)) {
        tip.append(row(line.dataset.colour, line.cells[0].textContent, value));
      }
    }
    if (tip.childElementCount === 1) tip.append(row(undefined, "Nothing", ""));
  };

  const place = (event) => {
    const box = tip.getBoundingClientRect();
    const left = event.clientX + 16 + box.width > innerWidth ? event.clientX - box.width - 12 : event.clientX + 16;
    const top = Math.min(event.clientY + 12, innerHeight - box.height - 8);
    tip.style.left = `${Math.max(8, left)}px`;
    tip.style.top = `${Math.max(8, top)}px`;
  };

  let on = null;
  const off = () => {
    on?.classList.remove("pn-on");
    on = null;
    tip.hidden = true;
  };
  document.addEventListener("pointermove", (event) => {
    const svg = event.pointerType === "touch" ? null : event.target.closest?.("[data-chart] svg");
    if (!svg) return off();
    const box = svg.getBoundingClientRect();
    const hits = svg.querySelectorAll(".pn-hit");
    const index = Math.min(hits.length - 1, Math.max(0, Math.floor(((event.clientX - box.left) / box.width) * hits.length)));
    if (hits[index] !== on) {
      off();
      on = hits[index];
      if (!on) return;
      on.classList.add("pn-on");
      fill(svg.closest("[data-chart]"), index);
      if (!tip.isConnected) document.body.append(tip);
      // The browser's own title would cover ours.
      for (const title of svg.querySelectorAll("title")) title.remove();
      tip.hidden = false;
    }
    place(event);
  });
  document.addEventListener("scroll", off, { passive: true, capture: true });
})();
