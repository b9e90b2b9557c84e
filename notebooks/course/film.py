"""A film of points in the plane, as one small HTML page with a slider: no kernel, no network, no library."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Sequence
from string import Template

import numpy as np
from PIL import Image

PAGE = Template("""<!doctype html><meta charset="utf-8"><title>Moving clouds</title>
<style>
  body { margin: 4px; font: 14px sans-serif; color: #222 }
  #bar { display: flex; gap: 14px; align-items: center; flex-wrap: wrap }
  #slider { flex: 1; max-width: 420px }
  #time { width: 70px }
  #panels { display: flex; gap: 10px; margin-top: 6px }
  figure { flex: 1; margin: 0; min-width: 0 }
  svg { width: 100%; aspect-ratio: 1; border: 1px solid #bbb; background: #fff; display: block }
  figcaption { text-align: center; padding-top: 3px }
  .point:hover { stroke-width: 2.4 }
  #card { position: fixed; display: none; background: #fff; border: 1px solid #999; padding: 4px; text-align: center;
          pointer-events: none; font-size: 12px }
  #card img { width: 96px; height: 96px; image-rendering: pixelated; display: block; margin: auto }
</style>
<div id="bar"><button id="play">▶ play from the start</button>
  <input id="slider" type="range" min="0" aria-label="moment"><span id="time"></span>
  <label><input id="zoom" type="checkbox"> each panel at a scale of its own</label></div>
<div id="panels"></div><div id="card"></div>
<script>
const data = $data
const [slider, time, zoom, card] = ["slider", "time", "zoom", "card"].map((id) => document.getElementById(id))
const shapes = { dot: "M-3,0a3,3 0 1,0 6,0a3,3 0 1,0 -6,0", triangle: "M0,-4L3.8,3L-3.8,3Z",
                 cross: "M-4,-4L4,4M-4,4L4,-4" }
const panels = data.titles.map((title) => {
  const figure = document.createElement("figure")
  figure.innerHTML = `<b>$${title}</b><svg viewBox="-100 -100 200 200"><path d="M-100,0H100M0,-100V100"
    stroke="#ddd"/></svg><figcaption></figcaption>`
  document.getElementById("panels").append(figure)
  const marks = data.points.map((point) => {
    const mark = document.createElementNS("http://www.w3.org/2000/svg", "path")
    const look = point.shape == "cross" ? { fill: "none", stroke: point.color, "stroke-width": 2 }
      : { fill: point.color, stroke: "#000", "stroke-width": 0.6 }
    for (const [name, value] of Object.entries({ ...look, d: shapes[point.shape], class: "point" }))
      mark.setAttribute(name, value)
    mark.onpointermove = (event) => {
      card.innerHTML = (point.face ? `<img src="$${point.face}" alt="">` : "") + point.note
      card.style.display = "block"
      card.style.left = Math.min(event.clientX + 14, innerWidth - 130) + "px"
      card.style.top = Math.min(event.clientY + 14, innerHeight - 135) + "px"
    }
    mark.onpointerleave = () => { card.style.display = "none" }
    figure.querySelector("svg").append(mark)
    return mark
  })
  return { marks, axes: figure.querySelector("svg path"), caption: figure.querySelector("figcaption") }
})
function draw() {
  const moment = +slider.value
  time.textContent = "step " + data.moments[moment]
  panels.forEach(({ marks, axes, caption }, i) => {
    const places = data.films[i][moment], middle = [0, 0]
    let half = data.span
    if (zoom.checked) {
      const ends = [0, 1].map((k) => places.map((place) => place[k])).map((all) => [Math.min(...all), Math.max(...all)])
      ends.forEach(([low, high], k) => { middle[k] = (low + high) / 2 })
      half = 0.55 * Math.max(...ends.map(([low, high]) => high - low), 1e-6)
    }
    const at = (x, y) => [100 * (x - middle[0]) / half, -100 * (y - middle[1]) / half]
    marks.forEach((mark, k) => mark.setAttribute("transform", `translate($${at(...places[k])})`))
    const [x, y] = at(0, 0)
    axes.setAttribute("d", `M-100,$${y}H100M$${x},-100V100`)
    caption.textContent = `width of the panel: $${(2 * half).toPrecision(3)}`
  })
}
slider.max = data.moments.length - 1
slider.value = slider.max
let film
slider.oninput = () => { clearInterval(film); draw() }
zoom.onchange = draw
document.getElementById("play").onclick = () => {
  clearInterval(film)
  slider.value = 0
  draw()
  film = setInterval(() => {
    if (slider.value == slider.max) return clearInterval(film)
    slider.value = +slider.value + 1
    draw()
  }, 150)
}
draw()
</script>""")


def film_page(
    films: dict[str, np.ndarray],
    moments: Sequence[int],
    images: Sequence[np.ndarray | None],
    notes: Sequence[str],
    colors: Sequence[str],
    shapes: Sequence[str],
) -> str:
    """A page with one panel for each film, under one slider.

    Args:
        films: Title -> (moments, points, 2).
        moments: The steps.
        images: Of each point a face (3, 32, 32) uint8, or None.
        notes: Of each point a short text.
        colors: Of each point a colour, as in CSS.
        shapes: Of each point "dot", "triangle" or "cross".
    """
    points = [
        {"face": "" if image is None else _uri(image), "note": note, "color": color, "shape": shape}
        for image, note, color, shape in zip(images, notes, colors, shapes, strict=True)
    ]
    data = {
        "titles": list(films),
        "films": [np.round(film.astype(float), 4).tolist() for film in films.values()],
        "moments": [int(moment) for moment in moments],
        "span": 1.08 * max(float(np.abs(film).max()) for film in films.values()),
        "points": points,
    }
    return PAGE.substitute(data=json.dumps(data).replace("</", "<\\/"))


def _uri(image: np.ndarray) -> str:
    file = io.BytesIO()
    Image.fromarray(np.moveaxis(image, 0, -1)).save(file, "WEBP", quality=65)
    return "data:image/webp;base64," + base64.b64encode(file.getvalue()).decode()
