// The page of a run: volumes drawn on canvases, then the numbers.

const PLANES = [
  { name: "Axial", axis: 0, rows: 1, columns: 2, labels: ["A", "P", "R", "L"] },
  { name: "Coronal", axis: 1, rows: 0, columns: 2, labels: ["S", "I", "R", "L"] },
  { name: "Sagittal", axis: 2, rows: 0, columns: 1, labels: ["S", "I", "A", "P"] },
];
const RED = [255, 60, 40], BLUE = [40, 110, 255], AMBER = [255, 170, 0];
const AXES = ["z", "y", "x"];
const [lowest, highest] = data.window;
const step = [data.shape[1] * data.shape[2], data.shape[2], 1];
const extent = data.shape.map((n, axis) => n * data.voxel_size[axis]);
const flat = data.shape[0] === 1;

const state = { layer: data.layers.length > 1 && data.layers[0].name === "reference" ? 1 : 0, overlay: "none", opacity: 0.8, at: data.shape.map((n) => n >> 1) };
const unpacked = new Map();

// 256 levels of a layer's part, (z, y, x); kept once they are unpacked.
function levelsOf(layer, part) {
  const key = `${part} ${layer}`;
  if (!unpacked.has(key)) unpacked.set(key, inflated(data.layers[layer][part]));
  return unpacked.get(key);
}

async function inflated(text) {
  const bytes = Uint8Array.from(atob(text), (sign) => sign.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

// Where a voxel of a row is drawn: superior is up, which is against the order of the array.
const turned = (plane, row) => (plane.rows === 0 ? data.shape[0] - 1 - row : row);

function paint(plane, image, overlay) {
  const rows = data.shape[plane.rows], columns = data.shape[plane.columns];
  const context = plane.canvas.getContext("2d");
  const picture = context.createImageData(columns, rows);
  const base = state.at[plane.axis] * step[plane.axis];
  for (let row = 0, out = 0; row < rows; row++) {
    let from = base + turned(plane, row) * step[plane.rows];
    for (let column = 0; column < columns; column++, from += step[plane.columns], out += 4) {
      const gray = data.dark_is_high ? 255 - image[from] : image[from];
      let colour = AMBER, weight = 0;
      if (overlay) {
        const level = overlay[from];
        if (state.overlay === "spread") weight = level / 255;
        else { weight = Math.min(1, Math.abs(level - 127.5) / 127.5 - 1 / 255); colour = level > 127.5 ? RED : BLUE; }
        weight = Math.max(0, weight) * state.opacity;
      }
      for (let k = 0; k < 3; k++) picture.data[out + k] = gray + weight * (colour[k] - gray);
      picture.data[out + 3] = 255;
    }
  }
  context.putImageData(picture, 0, 0);
  plane.down.style.left = `${(100 * (state.at[plane.columns] + 0.5)) / columns}%`;
  plane.over.style.top = `${(100 * (turned(plane, state.at[plane.rows]) + 0.5)) / rows}%`;
  plane.slider.value = state.at[plane.axis];
  plane.output.textContent = `${state.at[plane.axis] + 1} / ${data.shape[plane.axis]}`;
}

let asked = 0;
async function show() {
  const turn = ++asked;
  const layer = data.layers[state.layer];
  const part = state.overlay !== "none" && layer[state.overlay] ? state.overlay : null;
  const [image, overlay] = await Promise.all([levelsOf(state.layer, "image"), part ? levelsOf(state.layer, part) : null]);
  if (turn !== asked) return;  // something newer is on its way
  for (const plane of planes) paint(plane, image, overlay);
  const at = state.at.reduce((sum, index, axis) => sum + index * step[axis], 0);
  const level = image[at], value = lowest + (level / 255) * (highest - lowest);
  const unit = data.unit ? ` ${data.unit}` : "";
  let text = `${AXES.map((axis, k) => `${axis} ${state.at[k] + 1}`).join(", ")} · ${level === 0 ? "≤ " : level === 255 ? "≥ " : ""}${short(value)}${unit}`;
  if (part === "error") text += ` · error ${short((overlay[at] / 255 - 0.5) * 2 * data.error)}${unit}`;
  if (part === "spread") text += ` · spread ${short((overlay[at] / 255) * data.widest)}${unit} (${calibrationOf(layer.name)})`;
  by("readout").textContent = text;
  for (const input of by("overlays").querySelectorAll("input")) input.disabled = input.value !== "none" && !layer[input.value];
  legend("image-legend", data.dark_is_high ? "gray dark" : "gray", short(lowest), `${short(highest)}${unit}`);
  by("overlay-legend").hidden = !part;
  if (part === "error") legend("overlay-legend", "error", `error ${short(-data.error)}`, `${short(data.error)}${unit}`);
  if (part === "spread") legend("overlay-legend", "spread", "spread 0", `${short(data.widest)}${unit}, ${calibrationOf(layer.name)}`);
}

const calibrationOf = (name) => data.spread[name] ?? "uncalibrated";

function legend(id, kind, left, right) {
  const [first, bar, last] = by(id).children;
  first.textContent = left;
  bar.className = kind;
  last.textContent = right;
}

function planeOf(description) {
  const rows = data.shape[description.rows], columns = data.shape[description.columns];
  const plane = { ...description };
  plane.canvas = element("canvas", { width: columns, height: rows });
  plane.canvas.setAttribute("role", "img");
  plane.canvas.setAttribute("aria-label", `${plane.name} slice`);
  plane.canvas.style.aspectRatio = `${extent[plane.columns]} / ${extent[plane.rows]}`;
  [plane.down, plane.over] = ["down", "over"].map((name) => element("i", { className: name }));
  const letters = ["top", "bottom", "left", "right"].map((side, k) => element("b", { className: side, textContent: plane.labels[k] }));
  const frame = element("div", { className: data.dark_is_high ? "plane paper" : "plane" }, plane.canvas, plane.down, plane.over, ...letters);
  const go = (event) => {
    const box = plane.canvas.getBoundingClientRect();
    const index = (share, n) => Math.min(n - 1, Math.max(0, Math.floor(share * n)));
    state.at[plane.columns] = index((event.clientX - box.left) / box.width, columns);
    state.at[plane.rows] = turned(plane, index((event.clientY - box.top) / box.height, rows));
    show();
  };
  frame.addEventListener("pointerdown", (event) => { frame.setPointerCapture(event.pointerId); go(event); });
  frame.addEventListener("pointermove", (event) => { if (event.buttons) go(event); });
  plane.slider = element("input", { type: "range", min: 0, max: data.shape[plane.axis] - 1, id: `slice-${AXES[plane.axis]}` });
  plane.slider.addEventListener("input", () => { state.at[plane.axis] = Number(plane.slider.value); show(); });
  plane.output = element("output");
  const label = element("label", {}, plane.name, plane.slider);
  by("viewer").append(element("figure", {}, frame, element("figcaption", {}, label, plane.output)));
  return plane;
}

function choices(host, name, options, chosen, choose) {
  for (const [value, title] of options) {
    const input = element("input", { type: "radio", name, value, checked: value === chosen });
    input.addEventListener("change", () => { choose(value); show(); });
    by(host).append(element("label", {}, input, title));
  }
}

function layout() {
  const viewer = by("viewer"), [z, y, x] = extent;
  const stacked = 2 * z <= 1.25 * y;
  viewer.className = flat ? "viewer single" : stacked ? "viewer stacked" : "viewer";
  viewer.style.setProperty("--columns", flat ? "1fr" : stacked ? `${x}fr ${Math.max(x, y)}fr` : `${x}fr ${x}fr ${y}fr`);
}

layout();
const planes = PLANES.filter((plane) => !flat || plane.axis === 0).map(planeOf);
choices("layers", "layer", data.layers.map((layer, k) => [String(k), layer.name]), String(state.layer), (value) => { state.layer = Number(value); });
const overlays = ["error", "spread"].filter((part) => data.layers.some((layer) => layer[part]));
choices("overlays", "overlay", [["none", "none"], ...overlays.map((part) => [part, part])], "none", (value) => { state.overlay = value; });
const opacity = () => { state.opacity = by("opacity").value / 100; by("opacity-value").textContent = `${by("opacity").value} %`; };
by("opacity").addEventListener("input", () => { opacity(); show(); });
opacity();

by("facts").textContent = [
  { cbct: "CT", mri: "MRI", pet: "PET" }[data.modality] ?? data.modality,
  `${data.stored.join(" × ")} voxels of ${data.voxel_size.map((size, k) => short(size / data.factors[k])).join(" × ")} mm (z, y, x)`,
].join(" · ");
by("notes").textContent = [
  data.factors.some((factor) => factor > 1) ? `Shown as means over ${data.factors.join(" × ")} voxels; the NIfTI files have them all.` : "",
  data.oblique ? `The image's axes are up to ${data.oblique.toFixed(0)}° off the patient's; letters name the nearest direction.` : "",
  data.layers.some((layer) => layer.image && data.modality === "mri") ? "Magnitudes." : "",
].filter(Boolean).join(" ");

fillMetrics(by("metrics"), data.metrics);
const measured = columnsOf(Object.values(data.metrics));
by("metrics-note").textContent = measured.includes("hfen") ? "Of the whole image, against the reference. VIF (1 is best) is a mean over axial slices, HFEN (0 is best) a relative error of edges and detail." : "";

// Seconds a method took; what is known of a sampler's own in colours, what else it took in grey.
function timings() {
  const host = by("timings");
  const longest = Math.max(...Object.values(data.metrics).map((row) => row.seconds ?? 0), 1e-9);
  const parts = ["network", "operator", "rest"];
  for (const [name, row] of Object.entries(data.metrics)) {
    if (!Number.isFinite(row.seconds)) continue;
    const spent = parts.map((part) => (data.convergence[name] ?? []).reduce((sum, one) => sum + one[part], 0));
    const bar = drawn("svg", { viewBox: "0 0 1000 10", preserveAspectRatio: "none", role: "img", "aria-label": `${name}: ${row.seconds.toFixed(1)} s` });
    let at = 0;
    for (const [k, seconds] of [...spent, Math.max(0, row.seconds - spent.reduce((a, b) => a + b))].entries()) {
      const width = (1000 * seconds) / longest;
      bar.append(drawn("rect", { x: at, y: 0, width, height: 10, class: parts[k] ?? "part" }));
      at += width;
    }
    host.append(element("span", { textContent: name }), bar, element("output", { textContent: `${row.seconds.toFixed(1)} s` }));
  }
  if (!host.children.length) host.append(element("p", { textContent: "Not recorded." }));
  else if (Object.keys(data.convergence).length) {
    const keys = [...parts.map((part) => [part, part]), ["part", "other"]].flatMap(([kind, text]) => [element("i", { className: `key ${kind}` }), text]);
    host.append(element("p", { className: "quiet" }, ...keys));
  }
}
timings();

function convergence() {
  const methods = Object.entries(data.convergence).filter(([, steps]) => steps.length);
  if (!methods.length) return;
  by("convergence").hidden = false;
  const seriesOf = (read) => methods.map(([name, steps]) => ({ name, points: steps.map((one) => [one.sigma, read(one)]).filter((p) => Number.isFinite(p[1])) })).filter((one) => one.points.length);
  const axis = { x: "noise level σ, network units", logX: true, falling: true };
  const plot = (rest) => { if (rest.series.length) by("convergence-plots").append(linePlot({ ...axis, ...rest })); };
  plot({ title: "Data misfit", y: "negative log-likelihood", logY: true, series: seriesOf((one) => one.misfit) });
  plot({ title: "Inner iterations", y: "iterations a step", series: seriesOf((one) => one.inner) });
  plot({ title: "Seconds", y: "seconds a step", series: seriesOf((one) => one.network + one.operator + one.rest) });
}
convergence();

function samples() {
  for (const [name, picture] of Object.entries(data.maps)) {
    by("samples").hidden = false;
    const image = document.createElement("img");
    image.src = picture;
    image.alt = `maps of the samples of ${name}`;
    image.className = "maps";
    by("maps").append(image);
  }
  for (const rows of Object.values(data.statistics)) {
    for (const cells of rows) {
      const row = by("statistics").insertRow();
      for (const text of cells) row.insertCell().textContent = text;
    }
  }
}
samples();

function coverage() {
  const spread = data.layers.filter((layer) => layer.spread).map((layer) => layer.name);
  by("coverage-note").textContent = data.coverage.length
    ? "How often the truth lay within an interval, against how often it should have; on the dashed line both are equal."
    : spread.length
      ? `No calibration holds for this run. The spread shown: ${spread.map((name) => `${name} ${calibrationOf(name)}`).join(", ")}.`
      : "No method of this run has a spread: it takes several samples.";
  for (const one of data.coverage) {
    by("coverage-plots").append(linePlot({ title: one.title, x: "nominal coverage", y: "observed coverage", series: one.curves, unit: true }));
  }
}
coverage();

by("command").textContent = data.command;
by("config").textContent = data.config;
by("versions").textContent = data.versions;
show();
