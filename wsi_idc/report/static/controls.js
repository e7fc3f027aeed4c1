"use strict";
// What lies on the map beside the slide, and the fills of patches.
wsiIdc.controls = (() => {
  const { data } = wsiIdc;
  const css = (rgb) => `rgb(${rgb.join()})`;
  const OUTCOME_FILLS = Object.fromEntries(Object.entries(data.outcomes).map(([key, rgb]) => [key, css(rgb)]));
  /** A colour with diagonal lines of another. */
  function hatched(rgb, line) {
    const tile = document.createElement("canvas");
    tile.width = tile.height = 8;
    const context = tile.getContext("2d");
    context.fillStyle = css(rgb);
    context.fillRect(0, 0, 8, 8);
    context.strokeStyle = css(line);
    context.lineWidth = 2;
    for (const x of [-8, 0, 8]) {
      context.moveTo(x, 8);
      context.lineTo(x + 8, 0);
    }
    context.stroke();
    return context.createPattern(tile, "repeat");
  }
  // In grey print, true and false positives have one brightness: the errors among them are hatched.
  OUTCOME_FILLS[data.hatch[0]] = hatched(data.outcomes[data.hatch[0]], data.hatch[1]);

  const FitControl = L.Control.extend({
    onAdd() {
      const bar = L.DomUtil.create("div", "leaflet-bar leaflet-control");
      const button = L.DomUtil.create("button", "fit", bar);
      button.type = "button";
      button.title = "Show the whole slide (0)";
      button.setAttribute("aria-label", "Show the whole slide");
      button.textContent = "⤢";
      L.DomEvent.disableClickPropagation(bar).on(button, "click", this.options.fit);
      return bar;
    },
  });

  /** Leaflet may still draw a frame after its map is gone, where the next slide is opened at once. */
  const Lines = L.Canvas.extend({
    _redraw() {
      if (this._ctx) L.Canvas.prototype._redraw.call(this);
    },
  });

  /** What must be read with the picture, also in a copy of the screen. */
  const UseNote = L.Control.extend({
    onAdd() {
      const box = L.DomUtil.create("div", "use-note");
      if (this.options.phantom) L.DomUtil.create("strong", "", box).textContent = data.phantom;
      L.DomUtil.create("span", "", box).textContent = data.researchUse;
      return box;
    },
  });

  /** A scale bar in mm; one that comes from the data set and not from the file is said to be nominal. */
  const ScaleBar = L.Control.extend({
    onAdd(map) {
      const box = L.DomUtil.create("div", "scale-bar");
      this.text = L.DomUtil.create("span", "", box);
      this.bar = L.DomUtil.create("i", "", box);
      map.on("zoom move resize", this.update, this);
      map.whenReady(this.update, this);
      return box;
    },
    onRemove(map) {
      map.off("zoom move resize", this.update, this);
    },
    update() {
      const pxPerMm = (1000 / this.options.unitUm) * 2 ** this._map.getZoom();
      const lengths = [0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50];
      // The note on its left needs the rest of a narrow screen.
      const room = Math.min(160, 0.3 * this._map.getSize().x);
      const length = lengths.findLast((of) => of * pxPerMm <= room) ?? lengths[0];
      this.bar.style.width = `${length * pxPerMm}px`;
      this.text.textContent = `${length} mm${this.options.nominal ? " (nominal)" : ""}`;
    },
  });

  return { FitControl, UseNote, ScaleBar, Lines, OUTCOME_FILLS, hatched, css };
})();
