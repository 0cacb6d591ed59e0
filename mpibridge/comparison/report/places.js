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
