"use strict";
// The slide on show: its map, and what is set and told beside it.
wsiIdc.viewer = (() => {
  const { data, byId, count, figure, showCounts, bindThreshold, byKeys } = wsiIdc;
  const { SlideMap, barColours } = wsiIdc.map;
  const PPM = 1e6;
  const FADES = { tissue: 1, heat: 0.55, errors: 0.8, classes: 0.75, labels: 1, calls: 1, corrections: 1 };
  // Two colour codes over each other can be read as neither.
  const COLOURS = ["heat", "errors", "classes"];

  const matrix = byId("slide-matrix");
  const boxes = Object.fromEntries(Object.keys(FADES).map((key) => [key, byId(`layer-${key}`)]));
  const fades = Object.fromEntries(Object.keys(FADES).map((key) => [key, byId(`fade-${key}`)]));
  let view = null;
  // What was set on the slide before: null where it was left as it came.
  let kept = null;

  /** Everything that belongs to the slide on show, until `close`. */
  class View extends SlideMap {
    constructor(slide, patches, info) {
      super("map", slide, patches, info, say);
      this.ending = new AbortController();
      this.ended = this.ending.signal;
      this.positive = slide.positive;
      document.querySelectorAll("#slide .positive").forEach((name) => (name.textContent = slide.positive));
      this.addReadout();
    }

    counts() {
      const counts = { tn: 0, fp: 0, fn: 0, tp: 0 };
      this.patches.prob.forEach((_, i) => {
        const outcome = this.outcome(i);
        if (outcome) counts[outcome.toLowerCase()] += 1;
      });
      return counts;
    }

    call(threshold) {
      super.call(threshold);
      if (this.labelled) showCounts(matrix, this.counts());
      this.sumUp();
      this.tell();
    }

    /** Show and fade the layers as the boxes and sliders say. */
    layer() {
      const of = (key) => (boxes[key].checked && !boxes[key].disabled ? Number(fades[key].value) : 0);
      this.show(Object.fromEntries(Object.keys(FADES).map((key) => [key, of(key)])));
      this.corrections?.fade(of("corrections"));
      wsiIdc.panes.show(this.weights);
      const colours = barColours(of("heat") || 1, this.info?.grey ?? (this.slide.view.tissue ? this.slide.view.grey : 255));
      byId("colour-bar").style.background = `linear-gradient(90deg, ${colours.join()})`;
    }

    /** Patches and area that are called IDC. */
    sumUp() {
      const { width, height } = this.patches;
      const perPx = (this.slide.mpp[0] * this.slide.mpp[1]) / 1e6;
      const area = (mm2) => mm2.toLocaleString("en", { minimumFractionDigits: 1, maximumFractionDigits: 1 });
      let [called, scored, calledArea, scoredArea] = [0, 0, 0, 0];
      for (let i = 0; i < width.length; i++) {
        if (this.patches.prob[i] === null) continue;
        scored += 1;
        scoredArea += width[i] * height[i] * perPx;
        if (!this.isCalled(i)) continue;
        called += 1;
        calledArea += width[i] * height[i] * perPx;
      }
      const part = scored ? ` (${((100 * called) / scored).toFixed(1)} %)` : "";
      byId("called").textContent = `Called ${this.positive}: ${count(called)} of ${count(scored)} patches${part}, ${area(calledArea)} of ${area(scoredArea)} mm²`;
    }

    addReadout() {
      this.tip = L.tooltip({ direction: "top", opacity: 1, className: "tip", offset: [0, -6] });
      this.tipMap = this.map;
      this.map.on("mousemove click", (event) => this.pointAt(event.latlng, this.map));
      this.map.on("mouseout", () => this.point(undefined));
      // Without a pointer it is the patch in the middle.
      this.map.on("moveend", () => {
        if (byKeys() && this.map.getContainer().matches(":focus-visible")) {
          this.pointAt(this.map.getCenter(), this.map);
        }
      });
    }

    /** Point at the patch of a place, as the mouse does on this map or the one beside it. */
    pointAt(at, map) {
      this.mouse = at;
      this.tipMap = map;
      this.point(this.grid.under(...this.placeBack(at)));
    }

    point(i) {
      if (i === this.pointed) return;
      this.pointed = i;
      this.frame(i);
      wsiIdc.panes.frame(i);
      this.tell();
    }

    /** Say which patch is pointed at, and what of it is known. */
    tell() {
      const i = this.pointed;
      if (i === undefined) {
        this.tip.remove();
        byId("patch").textContent = "Point at a patch, tap it, or move with the arrow keys.";
        return;
      }
      const { minx, miny, width, prob, label, classes } = this.patches;
      const facts = [
        prob[i] === null ? "unreadable: no probability" : `probability of ${this.positive} ${figure(prob[i] / PPM, 3)}`,
        this.otherProbability(i),
        classes && classes[i] !== null ? `most probable: ${this.slide.classes[classes[i]].name}` : "",
        prob[i] === null ? "" : `called ${this.isCalled(i) ? "" : "no "}${this.positive}`,
        label[i] < 0 ? "not labelled" : `labelled ${label[i] ? "" : "no "}${this.positive}`,
        ...wsiIdc.panes.tell(i),
        ...(this.corrections?.tell(i) ?? []),
      ].filter(Boolean);
      const content = document.createElement("div");
      for (const [tag, text] of [["strong", this.patchName(i)], ...facts.map((fact) => ["span", fact])]) {
        content.appendChild(document.createElement(tag)).textContent = text;
      }
      byId("patch").replaceChildren(content.cloneNode(true));
      this.tip.setLatLng(this.place(minx[i] + width[i] / 2, miny[i])).setContent(content);
      if (this.tipMap.hasLayer(this.tip)) return;
      this.tip.remove();
      this.tip.addTo(this.tipMap);
    }

    /** The probability that calls do not follow, where there are two. */
    otherProbability(i) {
      const { other } = this.patches;
      if (!other || other[i] === null) return "";
      return `${this.slide.context === null ? "with its neighbours" : "of the patch alone"} ${figure(other[i] / PPM, 3)}`;
    }

    patchName(i) {
      const { minx, miny, label } = this.patches;
      if (!this.slide.nominal) return `Tile at x ${count(minx[i])}, y ${count(miny[i])}`;
      const known = label[i] < 0 ? "" : `_class${label[i]}`;
      return `${this.slide.name}_idx5_x${minx[i] + 1}_y${miny[i] + 1}${known}.png`;
    }
  }

  function say(text) {
    const note = byId("slide-note");
    note.textContent = text;
    note.hidden = !text;
  }

  const setThreshold = bindThreshold(byId("slide-threshold"), (threshold) => view?.call(threshold));

  for (const key of Object.keys(FADES)) {
    boxes[key].addEventListener("change", () => {
      if (COLOURS.includes(key) && boxes[key].checked) {
        for (const other of COLOURS) if (other !== key) boxes[other].checked = false;
      }
      view?.layer();
    });
    fades[key].addEventListener("input", () => view?.layer());
  }

  /** Show a slide whose patches are at hand. */
  function show(slide, patches, info = null) {
    close();
    view = new View(slide, patches, info);
    for (const [key, fade] of Object.entries(FADES)) fades[key].value = kept?.fades[key] ?? fade;
    const hasTissue = Boolean(info ?? slide.view.tissue);
    if (!hasTissue && !kept) fades.heat.value = 1;
    byId("slide-body").classList.toggle("no-patches", patches.minx.length === 0);
    boxes.tissue.disabled = !hasTissue;
    boxes.corrections.disabled = !data.live && !(patches.corrections ?? []).length;
    boxes.errors.disabled = boxes.labels.disabled = !view.labelled;
    boxes.classes.disabled = !patches.classes;
    showClasses(slide, patches);
    for (const key of Object.keys(FADES)) {
      boxes[key].checked = (kept?.layers[key] ?? !["errors", "classes"].includes(key)) && !boxes[key].disabled;
      fades[key].disabled = boxes[key].disabled;
    }
    matrix.hidden = !view.labelled;
    byId("no-matrix").hidden = view.labelled;
    for (const cell of matrix.querySelectorAll("[data-fixed]")) cell.textContent = figure(slide.figures[cell.dataset.fixed]);
    view.corrections = wsiIdc.corrections.begin(view);
    wsiIdc.places.begin(view);
    view.layer();
    wsiIdc.panes.begin(view);
    setThreshold(slide.threshold, kept?.threshold ?? slide.threshold);
    view.tell();
    byId("map").focus({ preventScroll: true });
  }

  /** The row and the key of the classes, where the model tells more than two apart. */
  function showClasses(slide, patches) {
    byId("classes-row").hidden = byId("classes-key").hidden = !patches.classes;
    byId("classes-key").replaceChildren(
      ...(patches.classes ? slide.classes : []).map(({ name, rgb, line }, number) => {
        const entry = document.createElement("span");
        const swatch = entry.appendChild(document.createElement("i"));
        swatch.className = `swatch${line ? " hatched" : ""}`;
        swatch.style.setProperty("--colour", `rgb(${rgb})`);
        if (line) swatch.style.setProperty("--line", `rgb(${line})`);
        entry.append(`${name}: ${count(patches.classes.filter((of) => of === number).length)}`);
        return entry;
      }),
    );
  }

  function close() {
    if (view) keep();
    wsiIdc.ruler.stop();
    wsiIdc.panes.end();
    wsiIdc.corrections.end();
    view?.ending.abort();
    view?.close();
    view = null;
  }

  /** Keep threshold, layers and opacity for the next slide; what this one does not have stays as it was before. */
  function keep() {
    const each = (value, before) =>
      Object.fromEntries(Object.keys(FADES).map((key) => [key, boxes[key].disabled ? before?.[key] : value(key)]));
    kept = {
      threshold: view.threshold === view.slide.threshold ? null : view.threshold,
      layers: each((key) => boxes[key].checked, kept?.layers),
      fades: each((key) => fades[key].value, kept?.fades),
    };
  }

  /** Begin with the next slide as it comes. */
  function forget() {
    close();
    kept = null;
  }

  // On paper the map has a size of its own, which Leaflet must know before it is drawn.
  const resize = (printing) => {
    document.body.classList.toggle("printing", printing);
    view?.map.invalidateSize({ animate: false });
    view?.fit({ animate: false });
  };
  addEventListener("beforeprint", () => resize(true));
  addEventListener("afterprint", () => resize(false));

  /** A key that is pressed while a slide is on show and no field has the focus; whether it meant something. */
  function key(pressed) {
    if (!view) return false;
    const layer = { 1: "tissue", 2: "heat", 3: "calls", 4: "labels", 5: "errors", 6: "corrections", 7: "classes" }[pressed];
    if (layer && !boxes[layer].disabled) boxes[layer].click();
    else if (pressed === "0") view.fit();
    else return false;
    return true;
  }

  return { show, close, forget, key, say, view: () => view };
})();
