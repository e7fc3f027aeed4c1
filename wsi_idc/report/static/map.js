"use strict";
// One set of patches over a slide, on a map that Leaflet zooms and pans; one unit of the map is a pixel at the scale of
// the patches. The page has one such map, and a second beside it on request.
wsiIdc.map = (() => {
  const { data } = wsiIdc;
  const { Grid, outline } = wsiIdc.outline;
  const { FitControl, UseNote, ScaleBar, Lines, OUTCOME_FILLS, hatched, css } = wsiIdc.controls;
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
  const still = matchMedia("(prefers-reduced-motion: reduce)");

  class SlideMap {
    /**
     * `id`: the element; `patches`: what report.js holds; `info`: what slide.json holds, or null;
     * `onLost`: called with a sentence where some of the slide cannot be shown.
     */
    constructor(id, slide, patches, info, onLost = () => {}) {
      this.slide = slide;
      this.info = info;
      this.onLost = onLost;
      this.patches = patches;
      this.grid = new Grid(patches, slide.mpp, slide.patchUm);
      this.scale = slide.mpp.map((of) => of / slide.unitUm);
      this.labelled = patches.label.some((label, i) => label >= 0 && patches.prob[i] !== null);
      this.threshold = slide.threshold;
      this.weights = {};
      this.map = this.makeMap(id);
      this.addTissue();
      this.addColours();
      this.addLines();
      this.fit({ animate: false });
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

    makeMap(id) {
      const { minx, miny, width, height } = this.patches;
      const ends = (from, length) => from.reduce((end, at, i) => Math.max(end, at + length[i]), 1);
      const tissue = this.info ?? this.slide.view.tissue;
      const reach = [ends(minx, width), ends(miny, height)];
      this.size = tissue ? [Math.max(tissue.width, reach[0]), Math.max(tissue.height, reach[1])] : reach;
      this.bounds = L.latLngBounds(this.place(0, 0), this.place(...this.size));
      const map = L.map(id, {
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
      for (const [z, name] of ["ground", "tissue", "grey", "heat", "errors", "classes", "lines"].entries()) {
        map.createPane(name).style.zIndex = 300 + z;
      }
      // Takes the hue from the tissue beneath wherever it is painted.
      map.getPane("grey").style.mixBlendMode = "saturation";
      map.addControl(new FitControl({ position: "topleft", fit: () => this.fit() }));
      map.addControl(new UseNote({ position: "bottomleft", phantom: this.slide.kind === "phantom" }));
      map.addControl(new ScaleBar({ position: "bottomright", nominal: this.slide.nominal, unitUm: this.slide.unitUm }));
      return map;
    }

    fit(how = {}) {
      this.map.fitBounds(this.bounds, { ...ROOM, ...how });
      if (how.animate === false) this.map.setMinZoom(this.map.getZoom() - 1);
    }

    addTissue() {
      // White under everything: a blend over nothing would paint the black that it blends with.
      L.svgOverlay(L.DomUtil.create("div", "ground"), this.bounds.pad(0.05), { pane: "ground" }).addTo(this.map);
      const tissue = this.info ?? this.slide.view.tissue;
      if (!tissue) return;
      const bounds = L.latLngBounds(this.place(0, 0), this.place(tissue.width, tissue.height));
      if (this.info) {
        const lost = () => this.onLost("Some of the slide cannot be shown: its file may have changed, or wsi-idc view may have ended. Reload the page.");
        this.tissue = wsiIdc.tiles.layer(this.info, this.scale, bounds, lost).addTo(this.map);
        return;
      }
      this.tissue = L.imageOverlay(tissue.src, bounds, { pane: "tissue", alt: `Tissue of ${this.slide.name}` });
      this.tissue.on("error", () => this.onLost(`${this.slide.url}/mosaic.png is not beside this page: the tissue is missing.`));
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
      if (this.patches.classes) {
        const fills = this.slide.classes.map(({ rgb, line }) => (line ? hatched(rgb, line) : css(rgb)));
        this.classes = layer("classes");
        this.paint(this.classes.context, (i) => (this.patches.classes[i] === null ? null : fills[this.patches.classes[i]]));
      }
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
        if (this.small !== this.isSmall()) this.show(this.weights);
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

    call(threshold) {
      this.threshold = threshold;
      this.draw(this.calls, (i) => this.isCalled(i));
      this.paintErrors();
    }

    paintErrors() {
      if (!this.weights.errors) return;
      this.paint(this.errors.context, (i) => (this.patches.prob[i] === null ? null : OUTCOME_FILLS[this.outcome(i)]));
    }

    /** Show each layer at its weight: 0 hides it. */
    show(weights) {
      this.weights = weights;
      const of = (key) => weights[key] ?? 0;
      this.tissue?.setOpacity(of("tissue"));
      this.heat.overlay.setOpacity(of("heat"));
      this.errors.overlay.setOpacity(of("errors"));
      this.classes?.overlay.setOpacity(of("classes"));
      const weight = Math.max(of("heat"), of("errors"), this.classes ? of("classes") : 0);
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
      this.paintErrors();
    }

    close() {
      // Leaflet would end a zoom after its map is gone.
      this.map._animatingZoom = false;
      this.map.remove();
    }

    /** Frame a patch; none where undefined. */
    frame(i) {
      for (const line of this.mark) line.remove();
      if (i !== undefined) this.draw(this.mark, (other) => other === i);
      for (const line of this.mark) if (i !== undefined) line.addTo(this.map);
    }
  }

  /** The colours of the bar over ground of this grey, at this weight. */
  function barColours(weight, grey) {
    return Array.from({ length: 33 }, (_, i) => css(COLOURS[Math.min(255, i * 8)].map((of) => Math.round(weight * of + (1 - weight) * grey))));
  }

  return { SlideMap, barColours, ROOM };
})();
