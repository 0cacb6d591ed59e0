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
$("footer").textContent = `mpibridge ${content.version}. ${content.unit ? `Values in ${content.unit}` : "Unit of the values not stated"}; one colour scale for all images.`;

fillTable(null, true);
choosePlane(planes[0]);
draw();
new ResizeObserver(schedule).observe($("panels"));
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", schedule);
