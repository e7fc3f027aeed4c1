"use strict";
// Where to look next on a slide: regions, disagreements and doubtful patches, ranked; and links to a place.
wsiIdc.places = (() => {
  const { byId, count, figure } = wsiIdc;
  const NONE = -1;
  const PPM = 1e6;
  // Patches of context around what is shown, and the widest that a single patch becomes on the screen.
  const ROOM = 2;
  const WIDEST_PX = 160;
  const AT = "&at=";
  const WHAT = { regions: "Region", disagreements: "Disagreement", doubtful: "Doubtful patch" };
  // What was ranked for the view, and where its reader is in each list.
  let held = null;

  /** Groups of patches of one kind that share sides. `kindOf` gives a kind, or undefined for patches that are left out. */
  function groups(grid, kindOf) {
    const kinds = grid.patches.minx.map((_, i) => kindOf(i));
    const seen = new Uint8Array(kinds.length);
    const found = [];
    for (let start = 0; start < kinds.length; start++) {
      if (seen[start] || kinds[start] === undefined) continue;
      const group = [start];
      seen[start] = 1;
      for (let at = 0; at < group.length; at++) {
        for (const beside of grid.beside) {
          const next = beside[group[at]];
          if (next === NONE || seen[next] || kinds[next] !== kinds[start]) continue;
          seen[next] = 1;
          group.push(next);
        }
      }
      found.push(group);
    }
    return found;
  }

  const sum = (group, of) => group.reduce((total, i) => total + of(i), 0);

  function ranked(found, weight) {
    const weights = new Map(found.map((group) => [group, weight(group)]));
    return found.sort((a, b) => weights.get(b) - weights.get(a) || a[0] - b[0]);
  }

  function rank(view, what) {
    const prob = (i) => view.patches.prob[i] / PPM;
    const far = (i) => Math.abs(prob(i) - view.threshold);
    if (what === "regions") return ranked(groups(view.grid, (i) => (view.isCalled(i) ? 1 : undefined)), (of) => sum(of, prob));
    if (what === "disagreements") {
      const wrong = (i) => (["FP", "FN"].includes(view.outcome(i)) ? view.outcome(i) : undefined);
      return ranked(groups(view.grid, wrong), (of) => sum(of, far));
    }
    const scored = view.patches.prob.flatMap((of, i) => (of === null ? [] : [[i]]));
    return ranked(scored, ([i]) => -far(i));
  }

  function listOf(view, what) {
    if (held?.view !== view || held.threshold !== view.threshold) held = { view, threshold: view.threshold, lists: {}, at: {} };
    return (held.lists[what] ??= rank(view, what));
  }

  function describe(view, what, list, at) {
    const group = list[at];
    const { width, height, prob } = view.patches;
    const mm2 = sum(group, (i) => width[i] * height[i]) * (view.slide.mpp[0] * view.slide.mpp[1]) / 1e6;
    const mean = figure(sum(group, (i) => prob[i]) / group.length / PPM);
    const of = `${WHAT[what]} ${count(at + 1)} of ${count(list.length)}`;
    if (what === "doubtful") return `${of}: probability ${mean}`;
    const patches = `${count(group.length)} patch${group.length === 1 ? "" : "es"}, ${mm2.toFixed(2)} mm²`;
    const error = { FP: ", called but not labelled", FN: ", labelled but not called" }[view.outcome(group[0])] ?? "";
    return `${of}: ${patches}${what === "disagreements" ? error : ""}, mean probability ${mean}`;
  }

  /** Go to the next of a list (`step` 1) or the one before (-1). */
  function go(view, what, step) {
    const list = listOf(view, what);
    const note = byId("place-note");
    if (!list.length) {
      note.textContent = { regions: "Nothing is called IDC at this threshold.", disagreements: "No call differs from its label." }[what] ?? "No patch has a probability.";
      return;
    }
    const before = held.at[what] ?? (step > 0 ? -1 : list.length);
    const at = (before + step + list.length) % list.length;
    held.at[what] = at;
    note.textContent = describe(view, what, list, at);
    show(view, list[at]);
  }

  /** Bring some patches into the middle of the map, with some of what surrounds them. */
  function show(view, group) {
    const { minx, miny, width, height } = view.patches;
    const box = L.latLngBounds([]);
    for (const i of group) {
      box.extend(view.place(minx[i], miny[i]));
      box.extend(view.place(minx[i] + width[i], miny[i] + height[i]));
    }
    const unit = view.slide.patchUm / view.slide.unitUm;
    const around = L.latLngBounds(
      [box.getSouth() - ROOM * unit, box.getWest() - ROOM * unit],
      [box.getNorth() + ROOM * unit, box.getEast() + ROOM * unit],
    );
    view.map.fitBounds(around, { maxZoom: Math.log2(WIDEST_PX / unit), animate: false });
    view.point(group.length === 1 ? group[0] : undefined);
  }

  /** The place on show as the end of an address: x and y of the middle in level-0 pixels, and µm per point of the screen. */
  function placeOf(view) {
    const [x, y] = view.placeBack(view.map.getCenter()).map(Math.round);
    const um = view.slide.unitUm / 2 ** view.map.getZoom();
    return `${AT}${x},${y},${Number(um.toPrecision(4))}`;
  }

  /** Part an address into the slide's and a place on it, null where it names none that can be. */
  function parse(hash) {
    const [url, place] = hash.split(AT);
    const [x, y, um] = (place ?? "").split(",").map(Number);
    return [url, um > 0 && [x, y, um].every(Number.isFinite) ? { x, y, um } : null];
  }

  function goTo(view, { x, y, um }) {
    view.map.setView(view.place(x, y), Math.log2(view.slide.unitUm / um), { animate: false });
    view.point(view.grid.under(x, y));
  }

  /** Put a link to the place on show into the address bar and the clipboard. */
  async function link(view) {
    history.replaceState(null, "", `#slide=${view.slide.url}${placeOf(view)}`);
    const note = byId("place-note");
    try {
      await navigator.clipboard.writeText(location.href);
      note.textContent = "The link to this place is copied, and in the address bar.";
    } catch {
      note.textContent = "The link to this place is in the address bar.";
    }
  }

  for (const [what, steps] of Object.entries({ regions: [-1, 1], disagreements: [-1, 1], doubtful: [-1, 1] })) {
    for (const step of steps) {
      byId(`${what}-${step > 0 ? "next" : "previous"}`).addEventListener("click", () => {
        const view = wsiIdc.viewer.view();
        if (view) go(view, what, step);
      });
    }
  }
  byId("link-place").addEventListener("click", () => { if (wsiIdc.viewer.view()) link(wsiIdc.viewer.view()); });

  const KEYS = { r: ["regions", 1], R: ["regions", -1], d: ["disagreements", 1], D: ["disagreements", -1], u: ["doubtful", 1], U: ["doubtful", -1] };
  /** Whether a key meant something here. */
  function key(view, pressed) {
    if (pressed === "l") link(view);
    else if (KEYS[pressed]?.[0] === "disagreements" && !view.labelled) return false;
    else if (KEYS[pressed]) go(view, ...KEYS[pressed]);
    else return false;
    return true;
  }

  /** Begin with a slide: nothing is chosen yet. */
  function begin(view) {
    byId("place-note").textContent = "";
    for (const step of ["previous", "next"]) byId(`disagreements-${step}`).disabled = !view.labelled;
  }

  return { begin, key, parse, goTo, listOf };
})();
