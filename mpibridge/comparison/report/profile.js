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
