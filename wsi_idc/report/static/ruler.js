"use strict";
// A ruler: from one point of the slide to another, in mm.
wsiIdc.ruler = (() => {
  const { byId } = wsiIdc;
  const button = byId("ruler");
  let ruler = null;

  class Ruler {
    constructor(view) {
      this.view = view;
      const renderer = new wsiIdc.controls.Lines({ pane: "lines", padding: 0.5 });
      const line = (style) => L.polyline([], { renderer, interactive: false, ...style });
      this.lines = [line({ color: "#fff", weight: 6 }), line({ color: "#141414", weight: 2.5 })];
      this.label = L.tooltip({ permanent: true, direction: "right", className: "ruler-label", opacity: 1, offset: [8, 0] });
      this.ends = [];
      this.moving = (event) => { if (this.ends.length === 1) this.draw(event.latlng); };
      this.clicked = (event) => this.set(event.latlng);
      view.map.on("mousemove", this.moving).on("click", this.clicked);
      view.map.getContainer().classList.add("measuring");
    }

    /** Set an end; a third begins anew. */
    set(at) {
      if (this.ends.length === 2) this.ends = [];
      this.ends.push(at);
      this.draw(at);
    }

    draw(to) {
      const from = this.ends[0];
      for (const line of this.lines) line.setLatLngs([from, to]).addTo(this.view.map);
      const um = Math.hypot(to.lat - from.lat, to.lng - from.lng) * this.view.slide.unitUm;
      this.text = `${(um / 1000).toFixed(3)} mm${this.view.slide.nominal ? " (nominal)" : ""}`;
      this.label.setLatLng(to).setContent(this.text);
      if (!this.view.map.hasLayer(this.label)) this.label.addTo(this.view.map);
    }

    remove() {
      this.view.map.off("mousemove", this.moving).off("click", this.clicked);
      this.view.map.getContainer().classList.remove("measuring");
      for (const layer of [...this.lines, this.label]) layer.remove();
    }
  }

  function toggle(view, on = ruler === null) {
    if (ruler) ruler.remove();
    ruler = on && view ? new Ruler(view) : null;
    button.setAttribute("aria-pressed", ruler !== null);
    if (ruler) wsiIdc.corrections.choose(null);
  }

  button.addEventListener("click", () => toggle(wsiIdc.viewer.view()));

  /** Whether a key meant something here: Enter sets an end in the middle of the map. */
  function key(view, pressed) {
    if (pressed === "m") toggle(view);
    else if (ruler && pressed === "Enter") ruler.set(view.map.getCenter());
    else if (ruler && pressed === "Escape") toggle(view, false);
    else return false;
    return true;
  }

  return { key, stop: () => toggle(null, false), ruler: () => ruler };
})();
