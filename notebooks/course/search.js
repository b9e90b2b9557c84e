// The search of the book: every word must begin a word of a section; words in a heading count more.
// `sections` stands above this line: [address, notebook, heading, text] of each section.
const box = document.getElementById("search"), found = document.getElementById("found")
const starts = (word) => new RegExp("(?<![\\p{L}\\p{N}])" + word.replace(/[.*+?^${}()|[\]\\]/g, "\\$&"), "giu")
const count = (text, word) => (text.match(starts(word)) ?? []).length

function search(query) {
  const words = query.trim().split(/\s+/).filter(Boolean)
  if (!words.length) return []
  return sections
    .map((section) => {
      const each = words.map((word) => 20 * count(section[2], word) + 5 * count(section[1], word) + count(section[3], word))
      return [Math.min(...each) && each.reduce((a, b) => a + b), section]
    })
    .filter(([score]) => score)
    .sort(([a], [b]) => b - a)
    .slice(0, 12)
    .map(([, section]) => section)
}

function shown([address, notebook, heading, text], word) {
  const item = document.createElement("a")
  item.href = address
  const at = Math.max(text.search(starts(word)), 0), from = Math.max(text.lastIndexOf(" ", at - 50), 0)
  const to = text.length < from + 150 ? text.length : text.lastIndexOf(" ", from + 150)
  const excerpt = (from ? "… " : "") + text.slice(from, to) + (to < text.length ? " …" : "")
  const lines = { b: heading, small: notebook, span: excerpt }
  for (const [tag, line] of Object.entries(lines)) {
    item.append(Object.assign(document.createElement(tag), { textContent: line }))
  }
  return item
}

function answer() {
  const results = search(box.value), word = box.value.trim().split(/\s+/)[0]
  found.replaceChildren(...results.map((section) => shown(section, word)))
  if (!results.length) found.textContent = "Nothing found."
  found.hidden = !box.value.trim()
}

box.addEventListener("input", answer)
box.addEventListener("keydown", (event) => {
  if (event.key === "Enter") found.querySelector("a")?.click()
})
addEventListener("keydown", (event) => {
  if (event.key === "Escape") { box.value = ""; answer(); box.blur() }
  if (event.key === "/" && document.activeElement !== box) { event.preventDefault(); box.focus() }
})
document.addEventListener("click", (event) => {
  if (!event.target.closest(".searching") || event.target.closest("#found a")) found.hidden = true
})

// The contents lie open beside the text where there is room; all code opens at once, and on paper.
const contents = document.querySelector("nav.contents details"), code = document.querySelectorAll("details.code")
if (contents && matchMedia("(min-width: 84rem)").matches) contents.open = true
const openAll = (open) => code.forEach((cell) => { cell.open = open })
document.getElementById("all-code")?.addEventListener("click", (event) => {
  const open = [...code].some((cell) => !cell.open)
  openAll(open)
  event.target.textContent = open ? "Fold all code" : "Open all code"
})
addEventListener("beforeprint", () => openAll(true))
