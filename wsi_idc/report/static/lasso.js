"use strict";
// A closed line drawn around patches.
wsiIdc.lasso = (() => {
  /** Whether a point lies in a closed line, by the even-odd rule. */
  function isInside([x, y], line) {
    let inside = false;
    for (let i = 0, j = line.length - 1; i < line.length; j = i++) {
      const [[x0, y0], [x1, y1]] = [line[i], line[j]];
      if (y0 > y !== y1 > y && x < x0 + ((x1 - x0) * (y - y0)) / (y1 - y0)) inside = !inside;
    }
    return inside;
  }

  /** A line that grows while the pointer is held. */
  class Lasso {
    constructor(view, map) {
      this.view = view;
      this.map = map;
      this.line = [];
      const renderer = new wsiIdc.controls.Lines({ pane: "lines", padding: 0.5 });
      const polygon = (style) => L.polygon([], { renderer, interactive: false, fill: false, smoothFactor: 0, ...style }).addTo(map);
      this.lines = [polygon({ color: "#fff", weight: 5 }), polygon({ color: "#141414", weight: 2, dashArray: "6 4" })];
    }

    pass(event) {
      this.line.push(this.view.placeBack(this.map.mouseEventToLatLng(event)));
      const places = this.line.map(([x, y]) => this.view.place(x, y));
      for (const line of this.lines) line.setLatLngs(places);
    }

    /** Indices of the patches whose centre lies in the line. */
    get patches() {
      const { minx, miny, width, height } = this.view.patches;
      return minx.flatMap((x, i) => (isInside([x + width[i] / 2, miny[i] + height[i] / 2], this.line) ? [i] : []));
    }

    remove() {
      for (const line of this.lines) line.remove();
    }
  }

  return { Lasso };
})();
