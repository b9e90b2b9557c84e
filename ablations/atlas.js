"use strict";
// The page around the two maps: what is selected, who is asked for, and why a face finds what it finds.
(async () => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const byId = (id) => document.getElementById(id);
  const TYPES = { uint8: Uint8Array, int32: Int32Array, float32: Float32Array };
  function bytes(text) {
    const letters = atob(text), made = new Uint8Array(letters.length);
    for (let i = 0; i < letters.length; i++) made[i] = letters.charCodeAt(i);
    return made;
  }
  const unpack = ({ type, data }) => new TYPES[type](bytes(data).buffer);

  const label = unpack(data.label), kind = unpack(data.kind), n = label.length;
  const maps = data.maps.map((map) => {
    const arrays = ["codes", "neighbors", "distances", "ap", "wrong", "to_center"];
    return { ...map, ...Object.fromEntries(arrays.map((name) => [name, unpack(map[name])])) };
  });
  const k = maps[0].neighbors.length / n, everybody = [...label.keys()];
  const name = (i) => data.people[label[i]];
  const isQuery = (i) => kind[i] % 2 === 0;
  const bit = (map, i, b) => (map.codes[i * Math.ceil(map.bits / 8) + (b >> 3)] >> (7 - (b & 7))) & 1;

  // All faces are one picture, under a short address, as the tooltips of bokeh need it too.
  const { columns } = data.sprite, rows = Math.ceil(n / columns);
  const sprite = URL.createObjectURL(new Blob([bytes(data.sprite.data)], { type: "image/webp" }));
  document.documentElement.style.setProperty("--sprite", `url(${sprite})`);
  document.documentElement.style.setProperty("--sprite-size", `${columns * 100}% ${rows * 100}%`);

  // bokeh's maps, and what of them is changed here.
  const items = [{ docid: "atlas", roots: data.roots, root_ids: Object.keys(data.roots) }];
  await Bokeh.embed.embed_items({ atlas: data.bokeh }, items);
  const bokeh = Bokeh.documents[Bokeh.documents.length - 1];
  const model = (name) => bokeh.get_model_by_name(name);
  const source = model("faces"), plots = maps.map((_, m) => model(`map${m}`));
  const place = maps.map((_, m) => ({ x: source.data[`x${m}`], y: source.data[`y${m}`] }));

  // In a notebook the wheel must scroll the notebook; fingers need the tool to zoom at all.
  if (window.top === window || matchMedia("(pointer: coarse)").matches) {
    for (const plot of plots) plot.toolbar.tools.find((tool) => tool.name === "wheel").active = true;
  }

  // --- small builders of HTML; texts are never read as HTML ---
  function element(tag, attributes = {}, ...children) {
    const made = Object.assign(document.createElement(tag), attributes);
    made.append(...children);
    return made;
  }

  function face(i, large = false) {
    const made = element("span", { className: large ? "face large" : "face", role: "img", ariaLabel: name(i) });
    const percent = (at, of) => `${(100 * at) / Math.max(of - 1, 1)}%`;
    made.style.backgroundPosition = `${percent(i % columns, columns)} ${percent(Math.floor(i / columns), rows)}`;
    return made;
  }

  // A code as a strip, dark for 1; a bit that differs from the code of `other` is tall and coloured.
  function strip(map, i, other) {
    const made = element("canvas", { className: "strip", width: map.bits, height: 7, role: "img" });
    const pen = made.getContext("2d"), differing = [];
    for (let b = 0; b < map.bits; b++) {
      const one = bit(map, i, b), differs = one !== bit(map, other, b);
      if (differs) differing.push(b + 1);
      pen.fillStyle = differs ? (one ? "#b34700" : "#ff9a4d") : one ? "#444" : "#ddd";
      pen.fillRect(b, differs ? 0 : 2, 1, differs ? 7 : 3);
    }
    made.title = made.ariaLabel = i === other ? "its code" : `differs in bits ${differing.join(", ") || "none"}`;
    return { made, differing };
  }

  // --- the answer: the face, and what is nearest to it on either map ---
  const answer = byId("answer");
  let focus = -1, touched = null, hidden = new Set();
  for (const map of document.querySelectorAll(".map")) map.addEventListener("pointerdown", () => (touched = map));

  const bits = (count) => `${count} ${count === 1 ? "bit" : "bits"}`;

  function verdict(map, i) {
    if (!isQuery(i)) return [element("span", {}, "in the gallery; nearest to it are")];
    const first = map.neighbors[i * k];
    const mark = element("b", { className: map.wrong[i] ? "wrong" : "right" }, map.wrong[i] ? "✗ wrong" : "✓ right");
    const near = map.distances.subarray(i * k, (i + 1) * k), ties = near.filter((distance) => distance === near[0]).length;
    const nearest = ties === 1 ? `${name(first)} is nearest` : `${ties}${ties === k ? " or more" : ""} are equally near`;
    return [mark, `: ${nearest}; average precision ${map.ap[i].toFixed(2)}`];
  }

  function neighbor(map, i, at) {
    const other = map.neighbors[at], same = label[other] === label[i];
    const { made, differing } = strip(map, other, i);
    const distance = map.distances[at];
    const apart = map.unit ? bits(distance) : `${distance.toFixed(2)} (${bits(differing.length)})`;
    const mark = element("b", { className: same ? "right" : "wrong" }, `${at - i * k + 1} ${same ? "✓" : "✗"} `);
    const line = element("span", { className: "line", title: name(other) }, mark, `${apart} · ${name(other)}`);
    const says = element("span", {}, line, made);
    const button = element("button", { className: "neighbor", type: "button", onclick: () => click(other, []) });
    button.append(face(other), says);
    return element("li", {}, button);
  }

  function oneAnswer(map, i) {
    const list = element("ol");
    for (let at = i * k; at < (i + 1) * k && map.neighbors[at] >= 0; at++) list.append(neighbor(map, i, at));
    const heading = element("h3", {}, map.title);
    return element("section", {}, heading, element("p", {}, ...verdict(map, i)), strip(map, i, i).made, list);
  }

  function showAnswer(chosen) {
    answer.hidden = focus < 0;
    drawLinks();
    answer.dataset.face = focus;
    if (focus < 0) return answer.replaceChildren();
    const file = data.files.length ? `, ${data.files[focus]}` : "";
    const about = element("div", {}, element("b", {}, name(focus)), ` · ${data.kinds[kind[focus]]}${file}`);
    const close = element("button", { type: "button", ariaLabel: "close", onclick: clear }, "✕");
    const parts = [element("div", { id: "about" }, face(focus, true), about, close)];
    if (chosen.length > 1) parts.push(selectedFaces(chosen));
    const answers = element("div", { className: "answers" }, ...maps.map((map) => oneAnswer(map, focus)));
    answer.replaceChildren(...parts, answers);
    answer.scrollTop = 0;
    touched?.scrollIntoView({ block: "nearest", behavior: "smooth" });  // from behind the answer
  }

  function selectedFaces(chosen) {
    const most = 60;
    const list = element("div", { className: "selected" });
    for (const i of chosen.slice(0, most)) {
      const look = { type: "button", title: `${name(i)}, ${data.kinds[kind[i]]}`, className: i === focus ? "now" : "" };
      list.append(element("button", { ...look, onclick: () => focusOn(i, chosen) }, face(i)));
    }
    if (chosen.length > most) list.append(`and ${(chosen.length - most).toLocaleString("en")} more, all in the CSV`);
    return list;
  }

  // The face that is looked at has a ring, and a line to each neighbour.
  function drawLinks() {
    const at = {};
    maps.forEach((map, m) => {
      const { x, y } = place[m], links = { x0: [], y0: [], x1: [], y1: [], color: [], dash: [] };
      at[`x${m}`] = focus < 0 ? [] : [x[focus]];
      at[`y${m}`] = focus < 0 ? [] : [y[focus]];
      for (const other of focus < 0 ? [] : map.neighbors.subarray(focus * k, (focus + 1) * k)) {
        if (other < 0) continue;
        const same = label[other] === label[focus];
        links.x0.push(x[focus]), links.y0.push(y[focus]), links.x1.push(x[other]), links.y1.push(y[other]);
        links.color.push(same ? "#007a5a" : "#d55e00"), links.dash.push(same ? "solid" : "dashed");
      }
      model(`links${m}`).data = links;
    });
    model("focus").data = at;
  }

  // --- what is selected, on both maps: one face by a click, many by the lasso or by name ---
  function focusOn(i, chosen) {
    focus = i;
    showAnswer(chosen);
  }

  function clear() {
    if (source.selected.indices.length) source.selected.indices = [];
    else focusOn(-1, []);
  }

  const selected = () => [...source.selected.indices].sort((i, j) => i - j);  // queries come first

  // A click on a face of many that are selected leaves them selected.
  function click(i, here) {
    const many = source.selected.indices.includes(i);
    if (!many && source.selected.indices.length) source.selected.indices = [];
    focusOn(i, many ? selected() : here);
  }

  source.selected.properties.indices.change.connect(() => {
    const chosen = selected();
    focusOn(chosen.length ? chosen[0] : -1, chosen);
    const count = chosen.length.toLocaleString("en");
    byId("save").textContent = chosen.length ? `Save ${count} as CSV` : "Save all as CSV";
    byId("status").textContent = chosen.length ? `${count} selected` : "";
  });

  plots.forEach((plot, m) => plot.on_event("tap", ({ x, y }) => {
    const across = plot.inner_width / (plot.x_range.end - plot.x_range.start);
    const up = plot.inner_height / (plot.y_range.end - plot.y_range.start);
    const apart = (i) => Math.hypot((place[m].x[i] - x) * across, (place[m].y[i] - y) * up);  // in pixels
    const there = everybody.filter((i) => !hidden.has(i) && apart(i) < 16).sort((i, j) => apart(i) - apart(j));
    if (!there.length) return clear();
    const nearest = apart(there[0]);
    click(there[0], there.filter((i) => apart(i) < nearest + 1));  // equal codes lie on one place
  }));

  // --- find, show, colour ---
  const plain = (text) => text.toLowerCase().replaceAll("_", " ").trim();
  byId("people").append(...data.people.map((one) => element("option", { value: one })));
  byId("find").oninput = () => {
    const wanted = plain(byId("find").value);
    let people = data.people.map((_, person) => person).filter((person) => plain(data.people[person]).includes(wanted));
    const exact = people.filter((person) => plain(data.people[person]) === wanted);
    people = new Set(exact.length ? exact : wanted ? people : []);
    source.selected.indices = everybody.filter((i) => people.has(label[i]));
    if (wanted && !people.size) byId("status").textContent = "no such person";
  };

  const isWrong = (i, which) => (which === "wrong" ? maps.some((map) => map.wrong[i]) :
    maps[which].wrong[i] && !maps[1 - which].wrong[i]);
  byId("show").onchange = () => {
    const which = byId("show").value, visible = everybody.map((i) => which === "all" || Boolean(isWrong(i, which)));
    hidden = new Set(everybody.filter((i) => !visible[i]));
    maps.forEach((map, m) => {
      model(`visible${m}`).booleans = visible;
      model(`wrong${m}`).indices = everybody.filter((i) => map.wrong[i] && visible[i]);
    });
    byId("status").textContent = which === "all" ? "" : `${(n - hidden.size).toLocaleString("en")} wrong`;
  };

  const persons = source.data.value0;
  function coloring(map, mode) {
    const numbers = { palette: data.sequence, low: 0, high: 1 };
    if (mode === "ap") return { ...numbers, values: map.ap, says: "average precision of a query; grey: gallery" };
    if (mode === "center") {
      const high = map.to_center.reduce((a, b) => Math.max(a, b), 0);
      return { ...numbers, high, values: map.to_center, says: `${map.unit} from the mean of its person's gallery faces` };
    }
    if (mode === "bit") {
      const b = Math.min(Math.max(Number(byId("bit").value) || 1, 1), map.bits) - 1;
      const values = Float32Array.from(label, (_, i) => bit(map, i, b));
      return { palette: ["#8ecae6", "#12263f"], low: 0, high: 1, values, says: `bit ${b + 1} of ${map.bits}` };
    }
    return { palette: data.palette, low: -0.5, high: data.palette.length - 0.5, values: persons, says: "" };
  }

  function recolor() {
    const mode = byId("color").value;
    byId("which").hidden = mode !== "bit";
    maps.forEach((map, m) => {
      const { palette, low, high, values, says } = coloring(map, mode);
      model(`colors${m}`).setv({ palette, low, high });
      source.data[`value${m}`] = values;
      const bar = element("i"), end = Number.isInteger(high) ? high : high.toFixed(1);
      bar.style.background = `linear-gradient(to right, ${palette.join(",")})`;
      byId(`scale${m}`).replaceChildren(...(says ? [`${low}`, bar, `${end} ${says}`] : []));
    });
    source.change.emit();
  }
  byId("bit").max = Math.max(...maps.map((map) => map.bits));
  byId("color").onchange = byId("bit").oninput = recolor;
  recolor();

  // --- names on the maps: as many as fit ---
  const heads = place.map(({ x, y }) => {
    const faces = data.people.map(() => []);
    label.forEach((person, i) => faces[person].push(i));
    const at = (values, part) => values.sort((a, b) => a - b)[Math.floor(part * values.length)];
    return faces.map((own) => [at(own.map((i) => x[i]), 0.5), at(own.map((i) => y[i]), 0.75)]);
  });

  function nameMap(m) {
    const plot = plots[m], { start: left, end: right } = plot.x_range, { start: low, end: high } = plot.y_range;
    const across = plot.inner_width / (right - left), up = plot.inner_height / (high - low);
    const kept = [], shown = { x: [], y: [], text: [] };
    heads[m].forEach(([x, y], person) => {
      if (!(x > left && x < right && y > low && y < high)) return;  // NaN of those without a face, too
      const box = { x: x * across, y: y * up, half: 3.2 * data.people[person].length + 2 };
      if (kept.some((one) => Math.abs(one.y - box.y) < 13 && Math.abs(one.x - box.x) < one.half + box.half)) return;
      kept.push(box);
      shown.x.push(x), shown.y.push(y), shown.text.push(data.people[person]);
    });
    model(`names${m}`).data = shown;
  }

  plots.forEach((plot, m) => {
    let waiting = 0;
    const later = () => { clearTimeout(waiting); waiting = setTimeout(() => nameMap(m), 120); };
    for (const range of [plot.x_range, plot.y_range]) range.change.connect(later);
    plot.properties.inner_width.change.connect(later);
    later();
  });

  // --- what is selected, or everything, as CSV ---
  byId("save").onclick = () => {
    const chosen = source.selected.indices.length ? selected() : everybody;
    const header = ["name", "kind", ...(data.files.length ? ["file"] : [])];
    for (const { title } of maps) {
      header.push(...["x", "y", "average precision", "wrong", "nearest", "distance"].map((column) => `${title}: ${column}`));
    }
    const lines = chosen.map((i) => [
      name(i), data.kinds[kind[i]], ...(data.files.length ? [data.files[i]] : []),
      ...maps.flatMap((map, m) => [
        place[m].x[i], place[m].y[i], isQuery(i) ? map.ap[i] : "", isQuery(i) ? map.wrong[i] : "",
        map.neighbors[i * k] < 0 ? "" : name(map.neighbors[i * k]), map.distances[i * k],
      ]),
    ]);
    const quoted = (value) => `"${String(value).replaceAll('"', '""')}"`;
    const text = [header, ...lines].map((line) => line.map(quoted).join(",")).join("\r\n") + "\r\n";
    const href = URL.createObjectURL(new Blob([text], { type: "text/csv" }));
    element("a", { href, download: "faces.csv" }).click();
    setTimeout(() => URL.revokeObjectURL(href), 1000);
  };

  document.body.dataset.ready = "yes";
})();
