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
