"use strict";
// One slide on a map that Leaflet zooms and pans; one unit of the map is a pixel at the scale of the patches.
wsiIdc.viewer = (() => {
  const { data, byId, count, figure, showCounts, bindThreshold, byKeys } = wsiIdc;
  const { Grid, outline } = wsiIdc.outline;
  const { FitControl, UseNote, ScaleBar, Lines, OUTCOME_FILLS, css } = wsiIdc.controls;
  const COLOURS = Array.from({ length: 256 }, (_, i) => [0, 2, 4].map((at) => parseInt(data.colours.slice(6 * i + at, 6 * i + at + 2), 16)));
  const FILLS = COLOURS.map(css);
  // Sharp patches, also those that the slide's edge cuts, without a canvas that a browser refuses.
  const PATCH_PX = 25;
  const CANVAS_PX = 4096;
  const PPM = 1e6;
  // Above this weight of the colour the tissue under it is grey, so that a colour means what the bar says.
  const FULL_GREY_AT = 0.2;
  // Patches smaller than this on the screen are outlined by a thin line without its white edges.
  const SMALL_PX = 6;
  // Around the whole slide; the scale bar lies beneath it.
  const ROOM = { paddingTopLeft: [12, 12], paddingBottomRight: [12, 48] };
  const FADES = { tissue: 1, heat: 0.55, errors: 0.8, labels: 1, calls: 1, corrections: 1 };

  const still = matchMedia("(prefers-reduced-motion: reduce)");
  const matrix = byId("slide-matrix");
  const boxes = Object.fromEntries(Object.keys(FADES).map((key) => [key, byId(`layer-${key}`)]));
  const fades = Object.fromEntries(Object.keys(FADES).map((key) => [key, byId(`fade-${key}`)]));
  let view = null;
  // What was set on the slide before: null where it was left as it came.
  let kept = null;

  /** Everything that belongs to the slide on show, until `close`. */
  class View {
    constructor(slide, patches, info) {
      this.slide = slide;
      this.info = info;
      this.ending = new AbortController();
      this.ended = this.ending.signal;
      this.patches = patches;
      this.grid = new Grid(patches, slide.mpp, slide.patchUm);
      this.scale = slide.mpp.map((of) => of / slide.unitUm);
      this.labelled = patches.label.some((label, i) => label >= 0 && patches.prob[i] !== null);
      this.threshold = slide.threshold;
      this.positive = slide.positive;
      document.querySelectorAll("#slide .positive").forEach((name) => (name.textContent = slide.positive));
      this.map = this.makeMap();
      this.addTissue();
      this.addColours();
      this.addLines();
      this.addReadout();
      this.map.fitBounds(this.bounds, { ...ROOM, animate: false });
      this.map.setMinZoom(this.map.getZoom() - 1);
      this.map.setMaxBounds(this.bounds.pad(0.5));
    }

    /** Level-0 pixels to the map's coordinates, whose first runs upwards. */
    place(x, y) {
      return L.latLng(-y * this.scale[1], x * this.scale[0]);
    }

    /** The map's coordinates to level-0 pixels. */
    placeBack(at) {
      return [at.lng / this.scale[0], -at.lat / this.scale[1]];
    }

    makeMap() {
      const { minx, miny, width, height } = this.patches;
      const ends = (from, length) => from.reduce((end, at, i) => Math.max(end, at + length[i]), 1);
      const tissue = this.info ?? this.slide.view.tissue;
      const reach = [ends(minx, width), ends(miny, height)];
      this.size = tissue ? [Math.max(tissue.width, reach[0]), Math.max(tissue.height, reach[1])] : reach;
      this.bounds = L.latLngBounds(this.place(0, 0), this.place(...this.size));
      const map = L.map("map", {
        crs: L.CRS.Simple,
        attributionControl: false,
        // A slide's own pixels can be seen four times as large as they are.
        maxZoom: this.info ? Math.max(4, Math.ceil(-Math.log2(Math.max(...this.scale))) + 2) : 4,
        minZoom: -10,
        zoomSnap: 0,
        zoomDelta: 0.5,
        wheelPxPerZoomLevel: 100,
        keyboardPanDelta: 120,
        zoomAnimation: !still.matches,
        fadeAnimation: false,
        inertia: !still.matches,
      });
      for (const [z, name] of ["ground", "tissue", "grey", "heat", "errors", "lines"].entries()) {
        map.createPane(name).style.zIndex = 300 + z;
      }
      // Takes the hue from the tissue beneath wherever it is painted.
      map.getPane("grey").style.mixBlendMode = "saturation";
      map.addControl(new FitControl({ position: "topleft", fit: () => this.fit() }));
      map.addControl(new UseNote({ position: "bottomleft", phantom: this.slide.kind === "phantom" }));
      map.addControl(new ScaleBar({ position: "bottomright", nominal: this.slide.nominal, unitUm: this.slide.unitUm }));
      return map;
    }

    fit() {
      this.map.fitBounds(this.bounds, ROOM);
    }

    addTissue() {
      // White under everything: a blend over nothing would paint the black that it blends with.
      L.svgOverlay(L.DomUtil.create("div", "ground"), this.bounds.pad(0.05), { pane: "ground" }).addTo(this.map);
      const tissue = this.info ?? this.slide.view.tissue;
      if (!tissue) return;
      const bounds = L.latLngBounds(this.place(0, 0), this.place(tissue.width, tissue.height));
      if (this.info) {
        const lost = () => say("Some of the slide cannot be shown: its file may have changed, or wsi-idc view may have ended. Reload the page.");
        this.tissue = wsiIdc.tiles.layer(this.info, this.scale, bounds, lost).addTo(this.map);
        return;
      }
      this.tissue = L.imageOverlay(tissue.src, bounds, { pane: "tissue", alt: `Tissue of ${this.slide.name}` });
      this.tissue.on("error", () => say(`${this.slide.url}/mosaic.png is not beside this page: the tissue is missing.`));
      this.tissue.addTo(this.map);
    }

    addColours() {
      const [columns, rows] = [0, 1].map((axis) => Math.max(1, Math.ceil(this.size[axis] / this.grid.pitch[axis])));
      const fitting = Math.min(PATCH_PX, CANVAS_PX / Math.max(columns, rows));
      // A whole number, so that the edges of patches lie where they are also on a slide seen at full size.
      const perPatch = fitting < 1 ? fitting : Math.floor(fitting);
      this.ratio = this.grid.pitch.map((of) => perPatch / of);
      const layer = (name) => {
        const canvas = document.createElement("canvas");
        canvas.width = Math.max(1, Math.ceil(this.size[0] * this.ratio[0]));
        canvas.height = Math.max(1, Math.ceil(this.size[1] * this.ratio[1]));
        const corner = this.place(canvas.width / this.ratio[0], canvas.height / this.ratio[1]);
        // Leaflet's overlay for SVG takes any element.
        const overlay = L.svgOverlay(canvas, L.latLngBounds(this.place(0, 0), corner), { pane: name, className: "patches" });
        overlay.addTo(this.map);
        return { overlay, context: canvas.getContext("2d") };
      };
      this.heat = layer("heat");
      this.grey = layer("grey");
      this.errors = layer("errors");
      this.paint(this.heat.context, (i) => (this.patches.prob[i] === null ? null : FILLS[Math.round((this.patches.prob[i] / PPM) * 255)]));
    }

    /** Fill each patch with what `fill` says: a colour, null for the mark of an unreadable one, undefined for nothing. */
    paint(context, fill) {
      const { minx, miny, width, height } = this.patches;
      context.clearRect(0, 0, context.canvas.width, context.canvas.height);
      for (let i = 0; i < minx.length; i++) {
        const colour = fill(i);
        if (colour === undefined) continue;
        // Each edge is rounded from its own position, so that neighbours share it.
        const [left, top] = [Math.round(minx[i] * this.ratio[0]), Math.round(miny[i] * this.ratio[1])];
        const right = Math.round((minx[i] + width[i]) * this.ratio[0]);
        const bottom = Math.round((miny[i] + height[i]) * this.ratio[1]);
        context.fillStyle = colour ?? css(data.unreadable[0]);
        context.fillRect(left, top, right - left, bottom - top);
        if (colour !== null) continue;
        context.strokeStyle = css(data.unreadable[1]);
        context.beginPath();
        context.rect(left + 0.5, top + 0.5, right - left - 1, bottom - top - 1);
        context.moveTo(left, top);
        context.lineTo(right, bottom);
        context.moveTo(left, bottom);
        context.lineTo(right, top);
        context.stroke();
      }
    }

    addLines() {
      const renderer = new Lines({ pane: "lines", padding: 0.5 });
      const line = (style) => L.polygon([], { renderer, fill: false, interactive: false, smoothFactor: 0, lineJoin: "miter", usual: style.weight, ...style });
      this.labels = [line({ color: "#fff", weight: 5 }), line({ color: "#009e73", weight: 2.6, dashArray: "7 5" })];
      this.calls = [line({ color: "#fff", weight: 4.5 }), line({ color: css(data.line), weight: 2 })];
      this.mark = [line({ color: "#fff", weight: 4 }), line({ color: "#c8102e", weight: 2 })];
      this.draw(this.labels, (i) => this.patches.label[i] === 1);
      this.map.on("zoomend", () => {
        if (this.small !== this.isSmall()) this.layer();
      });
    }

    isSmall() {
      return (this.slide.patchUm / this.slide.unitUm) * 2 ** this.map.getZoom() < SMALL_PX;
    }

    draw(lines, inside) {
      const loops = outline(this.grid, inside).map((loop) => [loop.map(([x, y]) => this.place(x, y))]);
      for (const line of lines) line.setLatLngs(loops);
    }

    isCalled(i) {
      const prob = this.patches.prob[i];
      return prob !== null && prob / PPM >= this.threshold;
    }

    outcome(i) {
      const { label, prob } = this.patches;
      if (label[i] < 0 || prob[i] === null) return undefined;
      return (this.isCalled(i) === (label[i] === 1) ? "T" : "F") + (this.isCalled(i) ? "P" : "N");
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
      this.threshold = threshold;
      this.draw(this.calls, (i) => this.isCalled(i));
      if (this.labelled) showCounts(matrix, this.counts());
      this.paintErrors();
      this.sumUp();
      this.tell();
    }

    paintErrors() {
      if (!boxes.errors.checked) return;
      this.paint(this.errors.context, (i) => (this.patches.prob[i] === null ? null : OUTCOME_FILLS[this.outcome(i)]));
    }

    /** Show and fade the layers as the boxes and sliders say. */
    layer() {
      const of = (key) => (boxes[key].checked && !boxes[key].disabled ? Number(fades[key].value) : 0);
      this.tissue?.setOpacity(of("tissue"));
      this.heat.overlay.setOpacity(of("heat"));
      this.errors.overlay.setOpacity(of("errors"));
      const weight = Math.max(of("heat"), of("errors"));
      this.grey.overlay.setOpacity(Math.min(1, weight / FULL_GREY_AT));
      const isGrey = of("errors") ? (i) => this.outcome(i) !== undefined : (i) => this.patches.prob[i] !== null;
      if (weight && this.greyOf !== of("errors") > 0) {
        this.greyOf = of("errors") > 0;
        this.paint(this.grey.context, (i) => (isGrey(i) ? "#000" : undefined));
      }
      this.small = this.isSmall();
      for (const [key, lines] of [["labels", this.labels], ["calls", this.calls]]) {
        for (const [i, line] of lines.entries()) {
          line.setStyle({ opacity: of(key), weight: this.small && i ? 1.2 : line.options.usual });
          if (of(key) && !(this.small && i === 0)) line.addTo(this.map);
          else line.remove();
        }
      }
      // Where both outlines run along the same patches, the dashes of one lie on the line of the other.
      for (const line of [this.labels[0], this.calls[0], this.calls[1], this.labels[1]]) {
        if (this.map.hasLayer(line)) line.bringToFront();
      }
      this.corrections?.fade(of("corrections"));
      this.paintErrors();
      paintBar(of("heat") || 1, this.info?.grey ?? (this.slide.view.tissue ? this.slide.view.grey : 255));
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
      this.map.on("mousemove", (event) => { this.mouse = event.latlng; });
      this.map.on("mousemove click", (event) => this.point(this.grid.under(...this.placeBack(event.latlng))));
      this.map.on("mouseout", () => this.point(undefined));
      // Without a pointer it is the patch in the middle.
      this.map.on("moveend", () => {
        if (byKeys() && this.map.getContainer().matches(":focus-visible")) {
          this.point(this.grid.under(...this.placeBack(this.map.getCenter())));
        }
      });
    }

    point(i) {
      if (i === this.pointed) return;
      this.pointed = i;
      for (const line of this.mark) line.remove();
      if (i !== undefined) this.draw(this.mark, (other) => other === i);
      for (const line of this.mark) if (i !== undefined) line.addTo(this.map);
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
      const { minx, miny, width, prob, label } = this.patches;
      const facts = [
        prob[i] === null ? "unreadable: no probability" : `probability of ${this.positive} ${figure(prob[i] / PPM, 3)}`,
        prob[i] === null ? "" : `called ${this.isCalled(i) ? "" : "no "}${this.positive}`,
        label[i] < 0 ? "not labelled" : `labelled ${label[i] ? "" : "no "}${this.positive}`,
        ...(this.corrections?.tell(i) ?? []),
      ].filter(Boolean);
      const content = document.createElement("div");
      for (const [tag, text] of [["strong", this.patchName(i)], ...facts.map((fact) => ["span", fact])]) {
        content.appendChild(document.createElement(tag)).textContent = text;
      }
      byId("patch").replaceChildren(content.cloneNode(true));
      this.tip.setLatLng(this.place(minx[i] + width[i] / 2, miny[i])).setContent(content);
      if (!this.map.hasLayer(this.tip)) this.tip.addTo(this.map);
    }

    patchName(i) {
      const { minx, miny, label } = this.patches;
      if (!this.slide.nominal) return `Tile at x ${count(minx[i])}, y ${count(miny[i])}`;
      const known = label[i] < 0 ? "" : `_class${label[i]}`;
      return `${this.slide.name}_idx5_x${minx[i] + 1}_y${miny[i] + 1}${known}.png`;
    }
  }

  /** The colour bar as it looks over the tissue at this weight. */
  function paintBar(weight, grey) {
    const stops = Array.from({ length: 33 }, (_, i) => COLOURS[Math.min(255, i * 8)].map((of) => Math.round(weight * of + (1 - weight) * grey)));
    byId("colour-bar").style.background = `linear-gradient(90deg, ${stops.map(css).join()})`;
  }

  function say(text) {
    const note = byId("slide-note");
    note.textContent = text;
    note.hidden = !text;
  }

  const setThreshold = bindThreshold(byId("slide-threshold"), (threshold) => view?.call(threshold));

  for (const key of Object.keys(FADES)) {
    boxes[key].addEventListener("change", () => {
      // Two colour codes over each other can be read as neither.
      const other = { heat: "errors", errors: "heat" }[key];
      if (other && boxes[key].checked) boxes[other].checked = false;
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
    for (const key of Object.keys(FADES)) {
      boxes[key].checked = (kept?.layers[key] ?? key !== "errors") && !boxes[key].disabled;
      fades[key].disabled = boxes[key].disabled;
    }
    matrix.hidden = !view.labelled;
    byId("no-matrix").hidden = view.labelled;
    for (const cell of matrix.querySelectorAll("[data-fixed]")) cell.textContent = figure(slide.figures[cell.dataset.fixed]);
    view.corrections = wsiIdc.corrections.begin(view);
    wsiIdc.places.begin(view);
    view.layer();
    setThreshold(slide.threshold, kept?.threshold ?? slide.threshold);
    view.tell();
    byId("map").focus({ preventScroll: true });
  }

  function close() {
    if (view) keep();
    wsiIdc.ruler.stop();
    wsiIdc.corrections.end();
    view?.ending.abort();
    view?.map.remove();
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
    view?.map.fitBounds(view.bounds, { ...ROOM, animate: false });
  };
  addEventListener("beforeprint", () => resize(true));
  addEventListener("afterprint", () => resize(false));

  /** A key that is pressed while a slide is on show and no field has the focus; whether it meant something. */
  function key(pressed) {
    if (!view) return false;
    const layer = { 1: "tissue", 2: "heat", 3: "calls", 4: "labels", 5: "errors", 6: "corrections" }[pressed];
    if (layer && !boxes[layer].disabled) boxes[layer].click();
    else if (pressed === "0") view.fit();
    else return false;
    return true;
  }

  return { show, close, forget, key, say, view: () => view };
})();
