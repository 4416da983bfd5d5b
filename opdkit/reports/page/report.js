"use strict";
// Shows values at the pointer; hides and shows configurations. The page is complete without it.
(() => {
  const tip = document.getElementById("tip");
  const SVG = "http://www.w3.org/2000/svg";
  const RIGHT = 328, TOP = 8, BOTTOM = 176;
  const hidden = new Set();

  const points = new WeakMap();
  const pointsOf = (group) => {
    if (!points.has(group)) {
      const numbers = group.querySelector(".line").getAttribute("d").match(/-?[\d.]+/g) || [];
      const found = [];
      for (let i = 0; i + 1 < numbers.length; i += 2) found.push([Number(numbers[i]), Number(numbers[i + 1])]);
      points.set(group, found);
    }
    return points.get(group);
  };
  const scaled = (low, high, fraction, log) =>
    log ? 10 ** (Math.log10(low) + fraction * (Math.log10(high) - Math.log10(low))) : low + fraction * (high - low);
  const shown = (value, percent) =>
    (percent ? (100 * value).toFixed(1) + " %" : String(Number(value.toPrecision(3)))).replace("-", "−");

  const clear = () => {
    tip.hidden = true;
    document.querySelectorAll(".cursor").forEach((line) => line.remove());
  };
  const look = (event) => {
    const chart = event.currentTarget, data = chart.dataset, box = chart.getBoundingClientRect();
    const x = ((event.clientX - box.left) * 340) / box.width;
    let best = null;
    const groups = [...chart.querySelectorAll("g[data-index]")].filter((group) => !hidden.has(group.dataset.index));
    for (const group of groups)
      for (const [at] of pointsOf(group)) if (best === null || Math.abs(at - x) < Math.abs(best - x)) best = at;
    clear();
    if (best === null) return;
    const rows = [];
    for (const group of groups) {
      const near = pointsOf(group).find(([at]) => Math.abs(at - best) < 0.06);
      if (near) {
        const value = scaled(Number(data.y0), Number(data.y1), (BOTTOM - near[1]) / (BOTTOM - TOP), data.log === "1");
        rows.push([near[1], group.getAttribute("class"), group.dataset.label, shown(value, data.percent === "1")]);
      }
    }
    rows.sort((one, other) => (one[1] === "rest") - (other[1] === "rest") || one[0] - other[0]);
    const cursor = document.createElementNS(SVG, "path");
    cursor.setAttribute("class", "cursor");
    cursor.setAttribute("d", `M${best} ${TOP}V${BOTTOM}`);
    chart.append(cursor);
    const step = scaled(Number(data.x0), Number(data.x1), (best - Number(data.left)) / (RIGHT - Number(data.left)), false);
    tip.replaceChildren();
    const add = (parent, name, className, text) => {
      const element = document.createElement(name);
      if (className) element.className = className;
      if (text) element.textContent = text;
      parent.append(element);
      return element;
    };
    if (!data.words) add(tip, "b", "", `${data.xlabel} ${Number(step.toPrecision(4))}`);
    for (const [, className, label, value] of rows.slice(0, 12)) {
      const row = add(tip, "div", className);
      add(row, "span", "dot");
      row.append(label + " ");
      add(row, "span", "value", value);
    }
    tip.hidden = false;
    const wide = tip.offsetWidth, right = event.clientX + 14 + wide > innerWidth;
    tip.style.left = Math.max(4, right ? event.clientX - 14 - wide : event.clientX + 14) + "px";
    tip.style.top = Math.max(4, Math.min(event.clientY + 14, innerHeight - tip.offsetHeight - 6)) + "px";
  };
  for (const chart of document.querySelectorAll("svg.chart")) {
    chart.addEventListener("pointermove", look);
    chart.addEventListener("pointerdown", look);
    chart.addEventListener("pointerleave", clear);
  }
  addEventListener("scroll", clear, { passive: true });

  const mark = (index, name, on) =>
    document.querySelectorAll(`.chart g[data-index="${index}"]`).forEach((group) => group.classList.toggle(name, on));
  const buttons = [...document.querySelectorAll(".legend button")];
  for (const button of buttons) {
    const index = button.dataset.index;
    button.addEventListener("click", () => {
      const off = !hidden.has(index);
      if (off) hidden.add(index);
      else hidden.delete(index);
      button.setAttribute("aria-pressed", String(!off));
      mark(index, "hidden-line", off);
    });
    const dim = (on) => buttons.forEach((other) => other !== button && mark(other.dataset.index, "dimmed", on));
    button.addEventListener("mouseenter", () => dim(true));
    button.addEventListener("mouseleave", () => dim(false));
  }
  addEventListener("beforeprint", () => document.querySelectorAll("details:not(.optional)").forEach((one) => (one.open = true)));
})();
