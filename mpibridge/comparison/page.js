"use strict";
// Positions are millimetres (voxel numbers where no image has places), u to the right and v up in the shown plane.

const content = JSON.parse(document.getElementById("data").textContent);
const $ = (id) => document.getElementById(id);
const bytes = (text) => Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
const LINES = ["#e69f00", "#0072b2", "#009e73", "#cc79a7", "#d55e00", "#56b4e9", "#999933", "#8a5fbf"];
const DASHES = [[], [7, 3], [2, 3]];
const MARGIN = { left: 40, right: 8, top: 6, bottom: 32 };
const GRAB = 14; // pixels within which the end of the line is taken
const SAMPLES = 301;
const NAN_COLOR = [128, 128, 128];

const images = content.images.map((image, i) => ({
  ...image,
  values: new Float32Array(bytes(image.data).buffer),
  size: { z: image.shape[2], y: image.shape[3], x: image.shape[4] },
  color: image.isTarget && content.hasReference ? null : LINES[(i - content.hasReference) % LINES.length],
  dash: DASHES[Math.floor(Math.max(0, i - content.hasReference) / LINES.length) % DASHES.length],
  shown: true,
}));
const target = images.find((image) => image.isTarget);
const lut = { image: bytes(content.colors.image), difference: bytes(content.colors.difference) };
const unit = images.some((image) => image.hasPlaces) ? "mm" : "voxel";
const state = { frame: 0, contrast: 0, plane: "xy", slice: 0, cursor: null, line: null, grabbed: null, at: null };

// ---- numbers and places

const number = (value) => {
  if (!Number.isFinite(value)) return Number.isNaN(value) ? "–" : String(value);
  const text = Number(value).toPrecision(4);
  return (text.includes("e") ? text : String(Number(text))).replace("-", "−");
};
const millimetres = (value) => `${value.toFixed(2).replace("-", "−")} ${unit}`;
const edges = (image, dim) => {
  const [first, edge] = image.axes[dim];
  return [first - edge / 2, first + edge * (image.size[dim] - 0.5)];
};
const extent = (dim) => {
  const all = images.map((image) => edges(image, dim));
  return [Math.min(...all.map((e) => e[0])), Math.max(...all.map((e) => e[1]))];
};
const normal = () => "xyz".replace(state.plane[0], "").replace(state.plane[1], "");
const voxel = (image, dim, place) => {
  const [low, high] = edges(image, dim);
  const slack = 1e-6 * image.axes[dim][1];
  if (place < low - slack || place > high + slack) return -1;
  const i = Math.floor((place - low) / image.axes[dim][1]);
  return Math.min(image.size[dim] - 1, Math.max(0, i));
};
const frameOf = (image) => Math.min(state.frame, image.shape[1] - 1);

// The plane through the slice: value(i, j) of voxel i along u and j along v, or null where the image does not reach.
function plane(image) {
  const [u, v] = state.plane;
  const w = normal();
  const k = image.size[w] > 1 ? voxel(image, w, slices[w][state.slice]) : 0;
  if (k < 0) return null;
  const { x, y, z } = image.size;
  const stride = { x: 1, y: x, z: x * y };
  const contrast = Math.min(state.contrast, image.shape[0] - 1);
  const start = (contrast * image.shape[1] + frameOf(image)) * x * y * z + k * stride[w];
  return { nu: image.size[u], nv: image.size[v], value: (i, j) => image.values[start + i * stride[u] + j * stride[v]] };
}

function differencePlane(image) {
  const a = plane(image), b = plane(target);
  return a && b && { nu: a.nu, nv: a.nv, value: (i, j) => a.value(i, j) - b.value(i, j) };
}

const hasDifference = (image) => !image.isTarget && image.difference === "";

// ---- scales, the same for all images and frames

const range = { low: 0, high: 0, difference: 0 };
for (const image of images) {
  for (const value of image.values) {
    if (value < range.low) range.low = value;
    if (value > range.high) range.high = value;
  }
  if (!hasDifference(image)) continue;
  const n = image.size.x * image.size.y * image.size.z;
  for (let i = 0; i < image.values.length; i++) {
    const frame = Math.floor(i / n) % image.shape[1], contrast = Math.floor(i / n / image.shape[1]);
    const other = (contrast * target.shape[1] + Math.min(frame, target.shape[1] - 1)) * n + (i % n);
    const d = Math.abs(image.values[i] - target.values[other]);
    if (d > range.difference) range.difference = d;
  }
}
if (range.high <= range.low) range.high = range.low + 1;
if (range.difference === 0) range.difference = range.high - range.low;
const limits = (kind) => {
  if (kind === "image") return [range.low, range.low + (range.high - range.low) * $("maximum").value / 100];
  const d = range.difference * $("difference").value / 100;
  return [-d, d];
};

// ---- drawing

const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

function prepare(canvas, width, height) {
  const ratio = window.devicePixelRatio || 1;
  canvas.width = Math.round(width * ratio);
  canvas.height = Math.round(height * ratio);
  const g = canvas.getContext("2d");
  g.setTransform(ratio, 0, 0, ratio, 0, 0);
  g.clearRect(0, 0, width, height);
  g.font = "11px system-ui, sans-serif";
  return g;
}

function ticks(low, high, n) {
  const raw = (high - low) / Math.max(1, n);
  const power = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 5, 10].map((f) => f * power).find((s) => s >= raw * 0.999);
  const found = [];
  for (let i = Math.ceil(low / step - 1e-9); i * step <= high + 1e-9 * step; i++) found.push(i * step);
  return found;
}
const tick = (value) => String(Number(value.toPrecision(6))).replace("-", "−");

// Where (u, v) lies on a panel of this width, with true proportions.
function frameOfPanel(width) {
  const [u, v] = state.plane;
  const [u0, u1] = extent(u), [v0, v1] = extent(v);
  const room = width - MARGIN.left - MARGIN.right;
  const scale = Math.min(room / (u1 - u0), (1.15 * room) / (v1 - v0));
  const left = MARGIN.left + (room - scale * (u1 - u0)) / 2;
  const height = MARGIN.top + scale * (v1 - v0) + MARGIN.bottom;
  return {
    width, height, scale, u0, u1, v0, v1,
    px: (a) => left + scale * (a - u0),
    py: (b) => MARGIN.top + scale * (v1 - b),
    place: (x, y) => [u0 + (x - left) / scale, v1 - (y - MARGIN.top) / scale],
  };
}

function paint(g, frame, image, shown, kind) {
  const [u, v] = state.plane;
  const [low, high] = limits(kind);
  g.fillStyle = css("--void");
  g.fillRect(frame.px(frame.u0), frame.py(frame.v1), frame.scale * (frame.u1 - frame.u0), frame.scale * (frame.v1 - frame.v0));
  if (!shown) return;
  const cells = document.createElement("canvas");
  cells.width = shown.nu;
  cells.height = shown.nv;
  const data = new ImageData(shown.nu, shown.nv);
  for (let j = 0; j < shown.nv; j++) {
    for (let i = 0; i < shown.nu; i++) {
      const value = shown.value(i, j);
      const index = Math.max(0, Math.min(255, Math.round((255 * (value - low)) / (high - low))));
      const at = 4 * ((shown.nv - 1 - j) * shown.nu + i);
      for (let c = 0; c < 3; c++) data.data[at + c] = Number.isNaN(value) ? NAN_COLOR[c] : lut[kind][3 * index + c];
      data.data[at + 3] = 255;
    }
  }
  cells.getContext("2d").putImageData(data, 0, 0);
  const [a0, a1] = edges(image, u), [b0, b1] = edges(image, v);
  g.imageSmoothingEnabled = false;
  g.drawImage(cells, frame.px(a0), frame.py(b1), frame.scale * (a1 - a0), frame.scale * (b1 - b0));
}

function drawAxes(g, frame) {
  const [u, v] = state.plane;
  g.strokeStyle = css("--faint");
  g.fillStyle = css("--faint");
  g.lineWidth = 1;
  const bottom = frame.py(frame.v0), left = frame.px(frame.u0), right = frame.px(frame.u1), top = frame.py(frame.v1);
  g.strokeRect(left, top, right - left, bottom - top);
  g.textAlign = "center";
  g.textBaseline = "top";
  g.beginPath();
  for (const t of ticks(frame.u0, frame.u1, (right - left) / 45)) {
    g.moveTo(frame.px(t), bottom);
    g.lineTo(frame.px(t), bottom + 3);
    g.fillText(tick(t), frame.px(t), bottom + 5);
  }
  g.fillText(`${u} (${unit})`, (left + right) / 2, bottom + 18);
  g.textAlign = "right";
  g.textBaseline = "middle";
  for (const t of ticks(frame.v0, frame.v1, (bottom - top) / 35)) {
    g.moveTo(left, frame.py(t));
    g.lineTo(left - 3, frame.py(t));
    g.fillText(tick(t), left - 5, frame.py(t));
  }
  g.stroke();
  g.save();
  g.translate(left - 32, (top + bottom) / 2);
  g.rotate(-Math.PI / 2);
  g.textAlign = "center";
  g.textBaseline = "top";
  g.fillText(`${v} (${unit})`, 0, -4);
  g.restore();
}

function drawLine(g, frame) {
  const [a, b, c, d] = state.line;
  const points = [[frame.px(a), frame.py(b)], [frame.px(c), frame.py(d)]];
  for (const [color, width] of [["#000", 3], ["#fff", 1.4]]) {
    g.strokeStyle = color;
    g.lineWidth = width;
    g.beginPath();
    g.moveTo(...points[0]);
    g.lineTo(...points[1]);
    g.stroke();
  }
  points.forEach(([x, y], end) => {
    g.beginPath();
    g.arc(x, y, 5, 0, 2 * Math.PI);
    g.fillStyle = end ? "#111" : "#fff";
    g.fill();
    g.lineWidth = 1.6;
    g.strokeStyle = end ? "#fff" : "#111";
    g.stroke();
  });
  if (state.cursor) {
    g.strokeStyle = "rgba(128, 160, 200, 0.9)";
    g.lineWidth = 1;
    g.beginPath();
    const [x, y] = [frame.px(state.cursor[0]), frame.py(state.cursor[1])];
    g.moveTo(x, frame.py(frame.v1));
    g.lineTo(x, frame.py(frame.v0));
    g.moveTo(frame.px(frame.u0), y);
    g.lineTo(frame.px(frame.u1), y);
    g.stroke();
  }
}

function drawBar(id, kind, label) {
  const canvas = $(id), width = 220, g = prepare(canvas, width, 32);
  const [low, high] = limits(kind), left = 8, length = width - 30;
  for (let i = 0; i < length; i++) {
    const c = 3 * Math.floor((256 * i) / length);
    g.fillStyle = `rgb(${lut[kind][c]}, ${lut[kind][c + 1]}, ${lut[kind][c + 2]})`;
    g.fillRect(left + i, 2, 1.5, 11);
  }
  g.fillStyle = css("--ink");
  g.textBaseline = "top";
  g.textAlign = "center";
  for (const t of ticks(low, high, 4)) {
    const x = left + (length * (t - low)) / (high - low);
    g.fillRect(x, 13, 1, 3);
    g.fillText(tick(t), x, 18);
  }
  canvas.title = `${label} (${content.unit})`;
}

// ---- panels

const panels = [];
function panelCanvas(figure, image, kind) {
  const canvas = document.createElement("canvas");
  canvas.dataset.kind = kind;
  canvas.tabIndex = kind === "image" ? 0 : -1;
  canvas.setAttribute("role", "img");
  canvas.setAttribute("aria-label", kind === "image" ? image.name : `${image.name} minus ${target.name}`);
  figure.append(canvas);
  const panel = { canvas, image, kind };
  canvas.addEventListener("pointerdown", (event) => grab(panel, event));
  canvas.addEventListener("pointermove", (event) => move(panel, event));
  canvas.addEventListener("pointerup", () => { state.grabbed = null; });
  canvas.addEventListener("pointercancel", () => { state.grabbed = null; });
  canvas.addEventListener("pointerleave", () => {
    if (state.grabbed === null) { state.cursor = null; schedule(); }
  });
  canvas.addEventListener("keydown", steer);
  panels.push(panel);
}

function swatch(image) {
  const mark = document.createElement("span");
  mark.className = "swatch";
  mark.style.borderTopColor = image.color || "currentColor";
  mark.style.borderTopStyle = ["solid", "dashed", "dotted"][DASHES.indexOf(image.dash)];
  return mark;
}

function span(className, text) {
  const element = document.createElement("span");
  element.className = className;
  element.textContent = text;
  return element;
}

for (const image of images) {
  const figure = document.createElement("figure");
  const caption = document.createElement("figcaption");
  const name = span("name", image.name + (image.factor === 1 ? "" : ` × ${number(image.factor)}`));
  name.title = name.textContent;
  image.readout = span("value", "");
  const title = span("title", "");
  title.append(swatch(image), name);
  caption.append(title, image.readout);
  figure.append(caption);
  panelCanvas(figure, image, "image");
  if (hasDifference(image)) {
    image.differenceCaption = document.createElement("figcaption");
    image.differenceReadout = span("value", "");
    image.differenceCaption.append(span("minus", `− ${target.name}`), image.differenceReadout);
    figure.append(image.differenceCaption);
    panelCanvas(figure, image, "difference");
  } else if (!image.isTarget) {
    const why = document.createElement("p");
    why.className = "why";
    why.textContent = `No difference map: ${image.difference}.`;
    figure.append(why);
  }
  $("panels").append(figure);
}

function where(panel, event) {
  const box = panel.canvas.getBoundingClientRect();
  const frame = frameOfPanel(box.width);
  return { frame, x: event.clientX - box.left, y: event.clientY - box.top };
}

function grab(panel, event) {
  const { frame, x, y } = where(panel, event);
  const distances = [0, 1].map((end) =>
    Math.hypot(frame.px(state.line[2 * end]) - x, frame.py(state.line[2 * end + 1]) - y));
  const end = distances[0] <= distances[1] ? 0 : 1;
  if (distances[end] > GRAB) return;
  state.grabbed = end;
  panel.canvas.setPointerCapture(event.pointerId);
  event.preventDefault();
}

function move(panel, event) {
  const { frame, x, y } = where(panel, event);
  const [a, b] = frame.place(x, y);
  if (state.grabbed !== null) {
    setEnd(state.grabbed, a, b);
    return;
  }
  const inside = a >= frame.u0 && a <= frame.u1 && b >= frame.v0 && b <= frame.v1;
  state.cursor = inside ? [a, b] : null;
  schedule();
}

// Arrow keys move one end of the line by a voxel of the first image, with Shift the other end.
function steer(event) {
  const steps = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] }[event.key];
  if (!steps) return;
  event.preventDefault();
  const end = event.shiftKey ? 1 : 0, [u, v] = state.plane;
  setEnd(end, state.line[2 * end] + steps[0] * target.axes[u][1], state.line[2 * end + 1] + steps[1] * target.axes[v][1]);
}

function setEnd(end, a, b) {
  const [u, v] = state.plane;
  const clip = (value, [low, high]) => Math.min(high, Math.max(low, value));
  state.line[2 * end] = clip(a, extent(u));
  state.line[2 * end + 1] = clip(b, extent(v));
  schedule();
}

function read() {
  const [u, v] = state.plane;
  const at = (image, shown) => {
    if (!state.cursor || !shown) return NaN;
    const i = voxel(image, u, state.cursor[0]), j = voxel(image, v, state.cursor[1]);
    return i < 0 || j < 0 ? NaN : shown.value(i, j);
  };
  for (const image of images) {
    image.readout.textContent = state.cursor ? number(at(image, plane(image))) : "";
    if (image.differenceReadout) {
      image.differenceReadout.textContent = state.cursor ? number(at(image, differencePlane(image))) : "";
    }
  }
  if (!state.cursor) {
    $("place").textContent = "Move over an image to read values.";
    return;
  }
  const w = normal();
  const places = { [u]: state.cursor[0], [v]: state.cursor[1], [w]: slices[w][state.slice] };
  $("place").textContent = ["x", "y", "z"].map((dim) => `${dim} = ${millimetres(places[dim])}`).join(", ");
}

// ---- profile

// Values at equal distances along the line, bilinear between voxel centres; NaN outside the image.
function profile(image) {
  const shown = plane(image), [u, v] = state.plane, [a, b, c, d] = state.line, values = new Float64Array(SAMPLES);
  for (let s = 0; s < SAMPLES; s++) {
    const t = s / (SAMPLES - 1), p = a + t * (c - a), q = b + t * (d - b);
    if (!shown || voxel(image, u, p) < 0 || voxel(image, v, q) < 0) { values[s] = NaN; continue; }
    const clip = (value, n) => Math.min(n - 1, Math.max(0, value));
    const i = clip((p - image.axes[u][0]) / image.axes[u][1], shown.nu);
    const j = clip((q - image.axes[v][0]) / image.axes[v][1], shown.nv);
    const i0 = Math.min(Math.floor(i), Math.max(0, shown.nu - 2)), j0 = Math.min(Math.floor(j), Math.max(0, shown.nv - 2));
    const i1 = Math.min(i0 + 1, shown.nu - 1), j1 = Math.min(j0 + 1, shown.nv - 1), f = i - i0, h = j - j0;
    values[s] = (1 - h) * ((1 - f) * shown.value(i0, j0) + f * shown.value(i1, j0))
      + h * ((1 - f) * shown.value(i0, j1) + f * shown.value(i1, j1));
  }
  return values;
}

function chartFrame(width, height, length, low, high) {
  const left = 52, right = 12, top = 8, bottom = 34;
  return {
    left, right: width - right, top, bottom: height - bottom,
    px: (s) => left + ((width - left - right) * s) / (length || 1),
    py: (value) => top + ((height - top - bottom) * (high - value)) / (high - low),
    distance: (x) => ((x - left) / (width - left - right)) * length,
  };
}

function drawChart() {
  const canvas = $("chart"), box = canvas.getBoundingClientRect(), g = prepare(canvas, box.width, box.height);
  const [a, b, c, d] = state.line, length = Math.hypot(c - a, d - b);
  const shown = images.filter((image) => image.shown);
  for (const image of images) image.profile = profile(image);
  let low = 0, high = 0;
  for (const image of shown) {
    for (const value of image.profile) {
      if (value < low) low = value;
      if (value > high) high = value;
    }
  }
  if (high <= low) high = low + 1;
  high += 0.04 * (high - low);
  const frame = chartFrame(box.width, box.height, length, low, high);
  g.fillStyle = css("--faint");
  g.strokeStyle = css("--rule");
  g.textAlign = "right";
  g.textBaseline = "middle";
  for (const t of ticks(low, high, 5)) {
    g.beginPath();
    g.moveTo(frame.left, frame.py(t));
    g.lineTo(frame.right, frame.py(t));
    g.stroke();
    g.fillText(tick(t), frame.left - 6, frame.py(t));
  }
  g.textAlign = "center";
  g.textBaseline = "top";
  if (length > 0) {
    for (const t of ticks(0, length, (frame.right - frame.left) / 70)) {
      g.beginPath();
      g.moveTo(frame.px(t), frame.bottom);
      g.lineTo(frame.px(t), frame.bottom + 4);
      g.stroke();
      g.fillText(tick(t), frame.px(t), frame.bottom + 6);
    }
  }
  g.fillText(`distance from the white end (${unit})`, (frame.left + frame.right) / 2, frame.bottom + 20);
  g.save();
  g.translate(4, (frame.top + frame.bottom) / 2);
  g.rotate(-Math.PI / 2);
  g.fillText(content.unit, 0, 0);
  g.restore();
  for (const image of shown) {
    g.strokeStyle = image.color || css("--ink");
    g.lineWidth = image.color ? 1.7 : 2.6;
    g.setLineDash(image.dash);
    g.beginPath();
    let drawing = false;
    image.profile.forEach((value, s) => {
      if (Number.isNaN(value)) { drawing = false; return; }
      const point = [frame.px((length * s) / (SAMPLES - 1)), frame.py(value)];
      if (drawing) g.lineTo(...point); else g.moveTo(...point);
      drawing = true;
    });
    g.stroke();
  }
  g.setLineDash([]);
  const at = state.at === null ? null : frame.distance(state.at);
  const inside = at !== null && at >= 0 && at <= length;
  if (inside) {
    g.strokeStyle = css("--faint");
    g.lineWidth = 1;
    g.beginPath();
    g.moveTo(state.at, frame.top);
    g.lineTo(state.at, frame.bottom);
    g.stroke();
  }
  for (const image of images) {
    const s = inside && length > 0 ? Math.round((at / length) * (SAMPLES - 1)) : -1;
    image.legend.textContent = s < 0 ? "" : number(image.profile[s]);
  }
  canvas.title = inside ? `${number(at)} ${unit}` : "";
}

for (const image of images) {
  const label = document.createElement("label"), box = document.createElement("input");
  box.type = "checkbox";
  box.checked = true;
  box.addEventListener("change", () => { image.shown = box.checked; schedule(); });
  image.legend = span("value", "");
  label.append(box, swatch(image), span("name", image.name), image.legend);
  $("legend").append(label);
}
$("chart").addEventListener("pointermove", (event) => {
  state.at = event.clientX - $("chart").getBoundingClientRect().left;
  schedule();
});
$("chart").addEventListener("pointerleave", () => { state.at = null; schedule(); });

const inputs = [0, 1, 2, 3].map((i) => {
  const label = document.createElement("label"), input = document.createElement("input");
  input.type = "number";
  input.step = "any";
  const text = span("", "");
  label.append(text, input);
  input.addEventListener("change", () => {
    const end = i >> 1, place = [...state.line];
    if (input.value === "" || !Number.isFinite(input.valueAsNumber)) { schedule(); return; }
    place[i] = input.valueAsNumber;
    setEnd(end, place[2 * end], place[2 * end + 1]);
  });
  $("ends").append(label);
  return { input, text };
});

// ---- frames, slices, planes

const slices = {};
for (const dim of "xyz") {
  const finest = images.reduce((best, image) => (image.size[dim] > best.size[dim] ? image : best), target);
  const source = target.size[dim] > 1 ? target : finest;
  slices[dim] = Array.from({ length: source.size[dim] }, (_, i) => source.axes[dim][0] + i * source.axes[dim][1]);
}
const planes = ["xy", "xz", "yz"].filter((p) => [...p].every((dim) => slices[dim].length > 1));
if (!planes.length) planes.push("xy");

function choosePlane(name) {
  state.plane = name;
  const w = normal(), [u, v] = name, [u0, u1] = extent(u), middle = slices[v][slices[v].length >> 1];
  state.slice = slices[w].length >> 1;
  state.line = [u0 + 0.1 * (u1 - u0), middle, u1 - 0.1 * (u1 - u0), middle];
  state.cursor = null;
  $("slice").max = slices[w].length - 1;
  $("slice").value = state.slice;
  $("slice-axis").textContent = w;
  $("slice-label").hidden = slices[w].length < 2;
  inputs.forEach(({ text }, i) => { text.textContent = `${name[i % 2]} ${i < 2 ? "white" : "black"} end (${unit})`; });
  schedule();
}

function options(id, values) {
  for (const [value, text] of values) {
    const option = document.createElement("option");
    option.value = value;
    option.textContent = text;
    $(id).append(option);
  }
  $(`${id}-label`).hidden = values.length < 2;
}

const longest = images.reduce((best, image) => (image.shape[1] > best.shape[1] ? image : best), target);
const nContrasts = Math.max(...images.map((image) => image.shape[0]));
$("frame").max = longest.shape[1] - 1;
$("frame-label").hidden = longest.shape[1] < 2;
options("plane", planes.map((p) => [p, `${p[0]}, ${p[1]}`]));
options("contrast", Array.from({ length: nContrasts }, (_, i) => [i, String(i)]));
if (!images.some(hasDifference)) {
  $("difference-scale").hidden = true;
  $("differences-label").hidden = true;
}
const listen = (id, act) => $(id).addEventListener("input", () => { act($(id)); schedule(); });
listen("frame", (input) => { state.frame = Number(input.value); });
listen("slice", (input) => { state.slice = Number(input.value); });
listen("contrast", (input) => { state.contrast = Number(input.value); });
listen("plane", (input) => choosePlane(input.value));
for (const id of ["maximum", "difference", "differences"]) listen(id, () => {});

function draw() {
  const n = images.length, most = Math.max(1, Math.min(n, Math.floor($("panels").clientWidth / 215)));
  const columns = Math.ceil(n / Math.ceil(n / most));
  const differences = $("differences").checked && images.some(hasDifference);
  $("panels").style.gridTemplateColumns = `repeat(${columns}, minmax(0, ${differences ? 330 : 420}px))`;
  for (const image of images) if (image.differenceCaption) image.differenceCaption.hidden = !differences;
  for (const { canvas, image, kind } of panels) {
    canvas.hidden = kind === "difference" && !differences;
    if (canvas.hidden) continue;
    const frame = frameOfPanel(canvas.parentElement.clientWidth);
    canvas.style.height = `${frame.height}px`;
    const g = prepare(canvas, frame.width, frame.height);
    paint(g, frame, image, kind === "image" ? plane(image) : differencePlane(image), kind);
    drawAxes(g, frame);
    drawLine(g, frame);
  }
  drawBar("bar", "image", "concentration");
  drawBar("difference-bar", "difference", `image minus ${target.name}`);
  const seconds = longest.seconds && longest.seconds[state.frame];
  $("frame-text").textContent = `${longest.frames[state.frame]}` + (seconds === null ? "" : ` (${number(seconds)} s)`);
  $("slice-text").textContent = millimetres(slices[normal()][state.slice]);
  inputs.forEach(({ input }, i) => {
    if (document.activeElement !== input) input.value = state.line[i].toFixed(2);
  });
  drawChart();
  read();
}

let scheduled = false;
function schedule() {
  if (scheduled) return;
  scheduled = true;
  requestAnimationFrame(() => { scheduled = false; draw(); });
}

// ---- table, notes, provenance

function fillTable(sortBy, ascending) {
  const table = $("table"), { columns, rows } = content.table;
  const order = [...rows];
  const key = (row) => {
    const { value } = row[sortBy];
    return value === "inf" ? Infinity : value === "-inf" ? -Infinity : value;
  };
  if (sortBy !== null) {
    order.sort((p, q) => {
      const [a, b] = [key(p), key(q)];
      if (a === "nan" || b === "nan") return (a === "nan") - (b === "nan");
      return (a < b ? -1 : a > b ? 1 : 0) * (ascending ? 1 : -1);
    });
  }
  table.replaceChildren();
  const head = table.createTHead().insertRow();
  columns.forEach((column, i) => {
    const cell = document.createElement("th"), button = document.createElement("button");
    cell.scope = "col";
    button.type = "button";
    button.textContent = column;
    if (i === sortBy) cell.setAttribute("aria-sort", ascending ? "ascending" : "descending");
    button.addEventListener("click", () => {
      fillTable(i, i === sortBy ? !ascending : true);
      table.querySelectorAll("th button")[i].focus();
    });
    cell.append(button);
    head.append(cell);
  });
  const body = table.createTBody();
  for (const row of order) {
    const line = body.insertRow();
    for (const cell of row) line.insertCell().textContent = cell.text;
  }
}

function facts(rows) {
  const table = document.createElement("table");
  table.className = "facts";
  for (const [question, answer] of rows) {
    const line = table.insertRow();
    line.insertCell().textContent = question;
    line.insertCell().textContent = answer;
  }
  return table;
}

function fold(title, ...inside) {
  const details = document.createElement("details"), summary = document.createElement("summary");
  summary.textContent = title;
  details.append(summary, ...inside);
  return details;
}

for (const image of images) {
  const { x, y, z } = image.size;
  const grid = [
    ["grid (x, y, z)", `${x} × ${y} × ${z} voxels`],
    ["voxel (x, y, z)", image.hasPlaces ? `${["x", "y", "z"].map((d) => number(image.axes[d][1])).join(" × ")} mm` : "not stated"],
    ["frames", String(image.shape[1])],
  ];
  const history = image.made.length ? image.made : [["provenance", "not stated"]];
  const inside = [facts([...history, ...grid])];
  if (image.header.length) inside.push(fold("file header", facts(image.header)));
  $("provenance").append(fold(image.name, ...inside));
}
for (const note of content.notes) {
  const item = document.createElement("li");
  item.textContent = note;
  $("notes").append(item);
}
$("footer").textContent = `mpibridge ${content.version}. Values in ${content.unit}; one colour scale for all images.`;

fillTable(null, true);
choosePlane(planes[0]);
draw();
new ResizeObserver(schedule).observe($("panels"));
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", schedule);
