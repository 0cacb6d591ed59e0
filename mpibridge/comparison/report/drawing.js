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
  canvas.title = content.unit ? `${label} (${content.unit})` : label;
}
