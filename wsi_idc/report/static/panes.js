"use strict";
// A second pane beside the map: the slide without colours, or another run of it. Both pan, zoom and point together.
wsiIdc.panes = (() => {
  const { byId, figure, thresholdText } = wsiIdc;
  const { SlideMap } = wsiIdc.map;
  const PPM = 1e6;
  const choice = byId("beside-what");
  const optionOf = (what) => choice.querySelector(`option[value="${what}"]`);
  // Kept from slide to slide, also past one that has no such pane.
  let wanted = "";
  let pane = null;
  let turn = 0;

  const Name = L.Control.extend({
    onAdd() {
      const box = L.DomUtil.create("div", "pane-name");
      box.textContent = this.options.name;
      return box;
    },
  });

  const title = (folder, { model, context }) => `${folder} · ${model}${context === null ? "" : `, context ${context}`}`;

  class Pane extends SlideMap {
    /** `run`: what is known of another run, or null for the slide alone. */
    constructor(view, patches, run) {
      super("beside", run ? { ...view.slide, ...run } : view.slide, patches, view.info);
      this.view = view;
      this.run = run;
      this.ending = new AbortController();
      const names = run
        ? [title(run.folders[0], view.slide), `${title(run.folders[1], run)} · threshold ${thresholdText(run.threshold)}`]
        : ["Map", "Slide"];
      this.name = new Name({ position: "topright", name: names[0] }).addTo(view.map);
      this.map.addControl(new Name({ position: "topright", name: names[1] }));
      if (run) this.call(run.threshold);
      this.map.setMinZoom(view.map.getMinZoom());
      this.map.setView(view.map.getCenter(), view.map.getZoom(), { animate: false });
      this.moving = [this.lead(view.map, this.map), this.lead(this.map, view.map)];
      this.map.on("mousemove click", (event) => view.pointAt(event.latlng, this.map));
      this.map.on("mouseout", () => view.point(undefined));
      wsiIdc.corrections.brush(view, this.map, this.ending.signal);
    }

    /** Let one map follow the other, and a cross in it the mouse. What is added to the first map ends with `remove`. */
    lead(from, to) {
      const cross = L.marker([0, 0], { interactive: false, keyboard: false, icon: L.divIcon({ className: "cross", iconSize: [17, 17] }) });
      const follow = (center, zoom, animate) => {
        if (this.leading && this.leading !== from) return;
        this.leading = from;
        to.setView(center, zoom, { animate });
        this.leading = null;
      };
      const heard = {
        move: () => { if (!this.zooming) follow(from.getCenter(), from.getZoom(), false); },
        zoomanim: (event) => {
          if (this.zooming) return;
          this.zooming = from;
          follow(event.center, event.zoom, true);
        },
        zoomend: () => {
          if (this.zooming !== from) return;
          this.zooming = null;
          follow(from.getCenter(), from.getZoom(), false);
        },
        mousemove: (event) => cross.setLatLng(event.latlng).addTo(to),
        mouseout: () => cross.remove(),
      };
      from.on(heard);
      return () => {
        from.off(heard);
        cross.remove();
      };
    }

    /** The patch of this pane where the view has its own. */
    same(i) {
      if (i === undefined || !this.run) return i;
      const { minx, miny, width, height } = this.view.patches;
      return this.grid.under(minx[i] + width[i] / 2, miny[i] + height[i] / 2);
    }

    remove() {
      this.ending.abort();
      for (const stop of this.moving) stop();
      this.name.remove();
      this.close();
    }
  }

  /** Offer what there is beside this slide, and show what was chosen before. */
  function begin(view) {
    const { beside } = view.slide;
    optionOf("run").textContent = beside ? `the run ${beside.folders[1]}` : "another run (wsi-idc view A --beside B)";
    optionOf("run").disabled = !beside;
    optionOf("slide").disabled = !view.info && !view.slide.view.tissue;
    return choose(view, wanted, true);
  }

  async function choose(view, what, whole = view.map.getBounds().contains(view.bounds)) {
    end();
    const now = (turn += 1);
    let shown = optionOf(what).disabled ? "" : what;
    let patches = view.patches;
    if (shown === "run") {
      try {
        const answer = await fetch(`${view.slide.url}/beside.json`);
        if (!answer.ok) throw new Error();
        patches = await answer.json();
      } catch {
        shown = "";
        wsiIdc.viewer.say(`The run ${view.slide.beside.folders[1]} of this slide cannot be read any more: reload the page.`);
      }
      if (turn !== now || wsiIdc.viewer.view() !== view) return;
    }
    choice.value = shown;
    byId("beside").hidden = !shown;
    document.body.classList.toggle("two-panes", shown !== "");
    view.map.invalidateSize({ animate: false });
    if (whole) view.fit({ animate: false });
    if (!shown) return;
    pane = new Pane(view, patches, shown === "run" ? view.slide.beside : null);
    show(view.weights);
    wsiIdc.corrections.layer()?.addTo(pane.map);
    wsiIdc.corrections.choose(wsiIdc.corrections.tool());
  }

  /** Show the layers of the map here as well; the slide alone has none. */
  function show(weights) {
    pane?.show(pane.run ? weights : { tissue: 1 });
  }

  function end() {
    turn += 1;
    pane?.remove();
    pane = null;
  }

  /** Frame the patch that the view points at. */
  function frame(i) {
    pane?.frame(pane.same(i));
  }

  /** What the other run says of a patch of the view. */
  function tell(i) {
    if (!pane?.run) return [];
    const other = pane.same(i);
    if (other === undefined) return [`${pane.run.folders[1]}: not scored`];
    const prob = pane.patches.prob[other];
    return [`${pane.run.folders[1]}: ${prob === null ? "unreadable" : `probability ${figure(prob / PPM, 3)}, called ${pane.isCalled(other) ? "" : "no "}${pane.slide.positive}`}`];
  }

  function want(view, what) {
    wanted = what;
    choose(view, what);
  }

  choice.addEventListener("change", () => { if (wsiIdc.viewer.view()) want(wsiIdc.viewer.view(), choice.value); });

  /** Whether a key meant something here: b goes through what there is. */
  function key(view, pressed) {
    if (pressed !== "b") return false;
    const each = [...choice.options].filter((option) => !option.disabled).map((option) => option.value);
    want(view, each[(each.indexOf(choice.value) + 1) % each.length]);
    return true;
  }

  return { begin, end, show, frame, tell, key, pane: () => pane };
})();
