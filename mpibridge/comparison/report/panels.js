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
