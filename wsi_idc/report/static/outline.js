"use strict";
// Outlines of sets of patches, in level-0 pixels. Written for slides of 100,000 patches: numbers, no strings.
wsiIdc.outline = (() => {
  const NONE = -1;
  // More than the pixels of any slide along one side: Python leaves others out.
  const WIDEST = 2 ** 25;

  /** Where patches lie in the grid, whose cells are a patch wide. */
  class Grid {
    constructor(patches, mpp, patchUm) {
      this.patches = patches;
      this.pitch = mpp.map((of) => patchUm / of);
      const { minx, miny } = patches;
      const cells = minx.map((x, i) => [Math.round(x / this.pitch[0]), Math.round(miny[i] / this.pitch[1])]);
      this.cells = new Map(cells.map(([column, row], i) => [row * WIDEST + column, i]));
      /** Patches above, right of, below and left of each patch. */
      this.beside = [[0, -1], [1, 0], [0, 1], [-1, 0]].map(([right, down]) =>
        Int32Array.from(cells, ([column, row]) => this.at(column + right, row + down)));
    }

    /** The patch in a cell, or NONE. */
    at(column, row) {
      return this.cells.get(row * WIDEST + column) ?? NONE;
    }

    /** The patch at a point, undefined where there is none. */
    under(x, y) {
      const { minx, miny, width, height } = this.patches;
      const i = this.at(Math.floor(x / this.pitch[0] + 1e-6), Math.floor(y / this.pitch[1] + 1e-6));
      return i !== NONE && x >= minx[i] && y >= miny[i] && x < minx[i] + width[i] && y < miny[i] + height[i] ? i : undefined;
    }
  }

  /**
   * Closed lines around the patches for which `isInside` holds, as lists of [x, y].
   * Each edge between inside and outside is one step, inside on its right; steps are chained at their ends.
   */
  function outline(grid, isInside) {
    const { minx, miny, width, height } = grid.patches;
    const inside = Uint8Array.from(minx, (_, i) => isInside(i));
    const [above, right, below, left] = grid.beside;
    const isOut = (i) => i === NONE || !inside[i];
    // Ends of the steps from each corner: at most two, where two patches touch at it.
    const first = new Map();
    const second = new Map();
    const add = (from, to) => (first.has(from) ? second : first).set(from, to);
    for (let i = 0; i < minx.length; i++) {
      if (!inside[i]) continue;
      const [x0, y0, x1, y1] = [minx[i], miny[i] * WIDEST, minx[i] + width[i], (miny[i] + height[i]) * WIDEST];
      if (isOut(above[i])) add(y0 + x0, y0 + x1);
      if (isOut(right[i])) add(y0 + x1, y1 + x1);
      if (isOut(below[i])) add(y1 + x1, y1 + x0);
      if (isOut(left[i])) add(y1 + x0, y0 + x0);
    }
    const take = (from) => {
      for (const steps of [first, second]) {
        const to = steps.get(from);
        if (to !== undefined) {
          steps.delete(from);
          return to;
        }
      }
      return undefined;
    };
    const lines = [];
    const corner = (key) => [key % WIDEST, Math.floor(key / WIDEST)];
    for (const steps of [first, second]) {
      for (const start of [...steps.keys()]) {
        const line = [];
        for (let at = start; at !== undefined; at = take(at)) line.push(corner(at));
        if (line.length > 1) lines.push(line);
      }
    }
    return lines;
  }

  return { Grid, outline };
})();
