"use strict";
// A slide's own pixels beneath the map, from the tiles of a page that is served.
wsiIdc.tiles = (() => {
  /**
   * Tiles whose side on the map need not be a whole number: reduced by 2^k, at the zoom `finest - k`, they are `side`
   * wide. Each overlaps its neighbours on the right and below, so that no gap shows where the screen's pixels do not fit.
   */
  const SlideTiles = L.GridLayer.extend({
    createTile(coords, done) {
      const { info, finest, side } = this.options;
      const depth = finest - coords.z;
      const box = document.createElement("div");
      const image = box.appendChild(document.createElement("img"));
      image.alt = "";
      const size = ["width", "height"].map((of, axis) => {
        const left = Math.ceil(info[of] / 2 ** depth) - coords[axis ? "y" : "x"] * info.tile;
        return Math.min(info.tile + info.overlap, left) * (side[axis] / info.tile);
      });
      image.style.width = `${size[0]}px`;
      image.style.height = `${size[1]}px`;
      image.addEventListener("load", () => done(null, box));
      image.addEventListener("error", () => { if (!box.dropped) done(new Error("no tile"), box); });
      image.src = `${info.tiles}/${depth}/${coords.x}_${coords.y}.jpg`;
      return box;
    },
  });

  /** The zoom at which a slide's finest tiles are shown about as large as they are. `scale`: map units per pixel. */
  function finestZoom(scale) {
    return Math.round(-Math.log2(Math.max(...scale) * (window.devicePixelRatio || 1)) - 0.2);
  }

  /**
   * A layer of a slide's tiles.
   * `info`: what slide.json holds; `scale`: units of the map per pixel of level 0, along x and y; `bounds`: the slide's.
   */
  function layer(info, scale, bounds, onError) {
    const finest = finestZoom(scale);
    const side = scale.map((of) => info.tile * of * 2 ** finest);
    const made = new SlideTiles({
      info, finest, side, bounds,
      pane: "tissue",
      tileSize: L.point(...side),
      minZoom: -30,
      minNativeZoom: finest - info.depth,
      maxNativeZoom: finest,
      noWrap: true,
      updateWhenZooming: false,
      keepBuffer: 1,
    });
    // What is no longer on the screen need not be fetched.
    made.on("tileunload", ({ tile }) => {
      tile.dropped = true;
      if (!tile.firstChild.complete) tile.firstChild.src = "data:,";
    });
    made.on("tileerror", onError);
    return made;
  }

  return { layer, finestZoom };
})();
