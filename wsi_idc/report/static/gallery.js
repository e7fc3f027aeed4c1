"use strict";
// The table of slides: sorted and filtered in place.
wsiIdc.gallery = (() => {
  const { data, byId, count } = wsiIdc;
  const table = byId("gallery-table");
  const body = table.tBodies[0];
  const rows = [...body.rows];
  const [search, state, seen] = [byId("search"), byId("state"), byId("seen")];
  const [by, descending, limitBy, limitSign, limit] =
    [byId("sort-by"), byId("sort-down"), byId("limit-by"), byId("limit-sign"), byId("limit")];
  // Failed slides first: what needs a look comes before what does not.
  const states = ["failed", "unfinished", "partial", "no tissue", "caution", "ok"];
  const slideOf = (row) => data.slides[Number(row.dataset.index)];

  function valueOf(row, key) {
    const slide = slideOf(row);
    if (key === "slide") return Number(row.dataset.index);
    if (key === "state") return states.indexOf(slide.state);
    return slide.figures[key];
  }

  function compare(a, b, key, sign) {
    const [x, y] = [valueOf(a, key), valueOf(b, key)];
    // What is undefined stands last, whichever way.
    if (x === null || y === null) return (x === null) - (y === null);
    return sign * (x - y) || a.dataset.index - b.dataset.index;
  }

  function passes(row) {
    const slide = slideOf(row);
    if (!slide.name.toLowerCase().includes(search.value.trim().toLowerCase())) return false;
    if (state.value && slide.state !== state.value) return false;
    if (seen.value && String(Boolean(slide.trainedOnIt)) !== seen.value) return false;
    if (limit.value !== "" && !Number.isNaN(limit.valueAsNumber)) {
      const value = slide.figures[limitBy.value];
      if (value === null) return false;
      return limitSign.value === "least" ? value >= limit.valueAsNumber : value <= limit.valueAsNumber;
    }
    return true;
  }

  function update() {
    const sign = descending.checked ? -1 : 1;
    const shown = rows.filter(passes).sort((a, b) => compare(a, b, by.value, sign));
    body.replaceChildren(...shown);
    for (const head of table.tHead.rows[0].cells) {
      const button = head.querySelector("button");
      if (!button) continue;
      const sorted = button.dataset.key === by.value;
      head.setAttribute("aria-sort", sorted ? (sign < 0 ? "descending" : "ascending") : "none");
    }
    byId("shown").textContent =
      shown.length === rows.length ? `${count(rows.length)} slides` : `${count(shown.length)} of ${count(rows.length)} slides`;
    byId("none-shown").hidden = shown.length > 0;
    wsiIdc.sumUp?.(shown.map((row) => Number(row.dataset.index)));
  }

  function sortBy(key, down) {
    by.value = key;
    descending.checked = down;
    update();
  }

  for (const button of table.tHead.querySelectorAll("button")) {
    button.addEventListener("click", () => sortBy(button.dataset.key, by.value === button.dataset.key && !descending.checked));
  }
  for (const control of [search, state, seen, by, descending, limitBy, limitSign, limit]) {
    control.addEventListener("input", update);
  }
  byId("failed-only").addEventListener("click", () => { state.value = "failed"; update(); });
  byId("worst-first").addEventListener("click", () => sortBy("balanced_accuracy", false));
  byId("show-all").addEventListener("click", () => {
    for (const control of [search, state, seen, limit]) control.value = "";
    sortBy("slide", false);
  });
  // Up and down go from slide to slide, as in a list.
  body.addEventListener("keydown", (event) => {
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    const row = event.target.closest("tr");
    if (!step || !row) return;
    const next = step > 0 ? row.nextElementSibling : row.previousElementSibling;
    if (next) {
      event.preventDefault();
      next.querySelector("a.name").focus();
    }
  });
  update();

  return {
    /** Indices of the slides as they stand in the table now. */
    order: () => [...body.rows].map((row) => Number(row.dataset.index)),
    focus(index) {
      const row = rows[index];
      if (row.isConnected) {
        row.querySelector("a.name").focus({ preventScroll: true });
        row.scrollIntoView({ block: "center" });
      }
    },
  };
})();
