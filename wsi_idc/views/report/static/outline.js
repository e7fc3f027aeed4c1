"use strict";
// Outlines of sets of patches, in level-0 pixels.
wsiIdc.outline = (() => {
  /** Where a patch lies in the grid, whose cells are 200 µm wide. */
  class Grid {
    constructor(patches, mpp) {
      this.patches = patches;
      this.pitch = mpp.map((of) => wsiIdc.data.patchUm / of);
      this.cells = new Map();
      this.cell = patches.minx.map((x, i) => [Math.round(x / this.pitch[0]), Math.round(patches.miny[i] / this.pitch[1])]);
      this.cell.forEach(([column, row], i) => this.cells.set(`${column},${row}`, i));
    }

    /** The patch in a cell, undefined where there is none. */
    at(column, row) {
      return this.cells.get(`${column},${row}`);
    }

    /** The patch at a point, undefined where there is none. */
    under(x, y) {
      const { minx, miny, width, height } = this.patches;
      const i = this.at(Math.floor(x / this.pitch[0] + 1e-6), Math.floor(y / this.pitch[1] + 1e-6));
      return i !== undefined && x >= minx[i] && y >= miny[i] && x < minx[i] + width[i] && y < miny[i] + height[i] ? i : undefined;
    }
  }

  /**
   * Closed lines around the patches for which `inside` holds, as lists of [x, y].
   * Each edge between inside and outside is one step, inside on its right; steps are chained at their ends.
   */
  function outline(grid, inside) {
    const { minx, miny, width, height } = grid.patches;
    const isIn = (column, row) => {
      const i = grid.at(column, row);
      return i !== undefined && inside(i);
    };
    const steps = new Map();
    const add = (from, to) => {
      const key = from.join();
      if (steps.has(key)) steps.get(key).push(to);
      else steps.set(key, [to]);
    };
    grid.cell.forEach(([column, row], i) => {
      if (!inside(i)) return;
      const [left, top, right, bottom] = [minx[i], miny[i], minx[i] + width[i], miny[i] + height[i]];
      if (!isIn(column, row - 1)) add([left, top], [right, top]);
      if (!isIn(column + 1, row)) add([right, top], [right, bottom]);
      if (!isIn(column, row + 1)) add([right, bottom], [left, bottom]);
      if (!isIn(column - 1, row)) add([left, bottom], [left, top]);
    });
    const lines = [];
    for (const [start, ends] of steps) {
      while (ends.length) {
        const line = [start.split(",").map(Number)];
        let next = ends.pop();
        while (next) {
          line.push(next);
          next = steps.get(next.join())?.pop();
        }
        lines.push(line);
      }
    }
    return lines;
  }

  return { Grid, outline };
})();
