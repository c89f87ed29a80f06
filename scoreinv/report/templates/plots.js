"use strict";
// Shared by the pages of runs and of batches: elements, numbers, tables and line plots. Text enters as text, never as markup.

const data = JSON.parse(document.getElementById("data").textContent);
const by = (id) => document.getElementById(id);

function element(name, properties = {}, ...children) {
  const made = Object.assign(document.createElement(name), properties);
  made.append(...children);
  return made;
}

function drawn(name, attributes = {}, text) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  if (text !== undefined) made.textContent = text;
  return made;
}

const METRICS = {
  psnr: { title: "PSNR (dB)", digits: 2, best: Math.max },
  ssim: { title: "SSIM", digits: 3, best: Math.max },
  vif: { title: "VIF", digits: 3, best: Math.max },
  hfen: { title: "HFEN", digits: 3, best: Math.min },
  held_out: { title: "held-out error", digits: 4, best: Math.min },
  seconds: { title: "seconds", digits: 1 },
  memory: { title: "MiB", digits: 0 },
  parameters: { title: "parameters", digits: 0 },
};

// Metrics known, in their order, then whatever else the file holds.
function columnsOf(rows) {
  const found = new Set(rows.flatMap((row) => Object.keys(row)));
  return [...Object.keys(METRICS).filter((key) => found.delete(key)), ...found];
}

const titleOf = (key) => METRICS[key]?.title ?? key;
const numberOf = (key, value) => (Number.isFinite(value) ? value.toFixed(METRICS[key]?.digits ?? 4) : "–");

function fillMetrics(table, metrics) {
  const names = Object.keys(metrics);
  const columns = columnsOf(Object.values(metrics));
  const heads = ["method", ...columns.map(titleOf)].map((text) => element("th", { scope: "col", textContent: text }));
  const rows = names.map((name) => {
    const cells = columns.map((key) => {
      const value = metrics[name][key];
      const values = names.map((other) => metrics[other][key]).filter(Number.isFinite);
      const best = values.length > 1 && METRICS[key]?.best && value === METRICS[key].best(...values);
      return element("td", { textContent: numberOf(key, value), className: best ? "best" : "" });
    });
    return element("tr", {}, element("th", { scope: "row", textContent: name }), ...cells);
  });
  table.append(element("thead", {}, element("tr", {}, ...heads)), element("tbody", {}, ...rows));
}

function short(value) {
  if (value === 0) return "0";
  const size = Math.abs(value);
  if (size >= 1e5 || size < 1e-3) return value.toExponential(0).replace("e+", "e").replaceAll("-", "−");
  return String(Number(value.toPrecision(3))).replace("-", "−");
}

function ticksOf([low, high], log) {
  if (log) {
    const first = Math.ceil(Math.log10(low) - 1e-9), last = Math.floor(Math.log10(high) + 1e-9);
    const every = Math.max(1, Math.ceil((last - first + 1) / 6));
    const tens = [];
    for (let k = first; k <= last; k += every) tens.push(10 ** k);
    return tens.length > 1 ? tens : [low, Math.sqrt(low * high), high];
  }
  const rough = (high - low) / 4, ten = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((factor) => factor * ten).find((size) => size >= rough);
  const ticks = [];
  for (let value = Math.ceil(low / step) * step; value <= high + 1e-9 * step; value += step) ticks.push(Number(value.toPrecision(12)));
  return ticks;
}

// series: [{name, points: [[x, y], ...]}]; a logarithmic axis falls back to a linear one where a value is not positive.
function linePlot({ title, x, y, series, logX = false, logY = false, falling = false, unit = false }) {
  const width = 400, height = 270, left = 52, right = 14, top = 44, bottom = 44;
  const points = series.flatMap((one) => one.points);
  const log = [logX && points.every((p) => p[0] > 0), logY && points.every((p) => p[1] > 0)];
  const ranges = [0, 1].map((axis) => {
    if (unit) return [0, 1];
    const values = points.map((p) => p[axis]);
    let low = Math.min(...values), high = Math.max(...values);
    if (axis === 1 && !log[1]) low = Math.min(0, low);
    if (low === high) [low, high] = log[axis] ? [low / 2, high * 2] : [low - 0.5, high + 0.5];
    return [low, high];
  });
  const share = (axis, value) => {
    const f = log[axis] ? Math.log : (v) => v;
    return (f(value) - f(ranges[axis][0])) / (f(ranges[axis][1]) - f(ranges[axis][0]));
  };
  const px = (value) => left + (falling ? 1 - share(0, value) : share(0, value)) * (width - left - right);
  const py = (value) => height - bottom - share(1, value) * (height - top - bottom);
  const label = `${title}: ${series.map((one) => one.name).join(", ")}`;
  const svg = drawn("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": label });
  svg.append(drawn("text", { x: left, y: 14, class: "title" }, title));
  for (const value of ticksOf(ranges[1], log[1])) {
    svg.append(drawn("line", { x1: left, x2: width - right, y1: py(value), y2: py(value), class: "grid" }));
    svg.append(drawn("text", { x: left - 6, y: py(value) + 4, "text-anchor": "end" }, short(value)));
  }
  for (const value of ticksOf(ranges[0], log[0])) {
    svg.append(drawn("text", { x: px(value), y: height - bottom + 16, "text-anchor": "middle" }, short(value)));
  }
  svg.append(drawn("text", { x: (left + width - right) / 2, y: height - 8, "text-anchor": "middle" }, x));
  svg.append(drawn("text", { x: 12, y: (top + height - bottom) / 2, "text-anchor": "middle", transform: `rotate(-90 12 ${(top + height - bottom) / 2})` }, y));
  if (unit) svg.append(drawn("line", { x1: px(0), y1: py(0), x2: px(1), y2: py(1), class: "ideal" }));
  let at = left;
  series.forEach((one, k) => {
    const path = one.points.map((p, i) => `${i ? "L" : "M"}${px(p[0]).toFixed(1)} ${py(p[1]).toFixed(1)}`).join("");
    svg.append(drawn("path", { d: path, class: `line s${k % 6}` }));
    svg.append(drawn("text", { x: at, y: 31, class: `name s${k % 6}` }, one.name));
    at += 14 + 6.4 * one.name.length;
  });
  return svg;
}
