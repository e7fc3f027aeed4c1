"use strict";
// What a person corrected: shown over the slide; where the page is served, painted, noted and saved at once.
wsiIdc.corrections = (() => {
  const { data, byId, count } = wsiIdc;
  const { Lines } = wsiIdc.controls;
  const { outline } = wsiIdc.outline;
  const STYLES = {
    true: { color: "rgb(213,94,0)", weight: 4 },
    false: { color: "rgb(0,114,178)", weight: 4, dashArray: "1 7", lineCap: "round" },
  };
  // A fill tells corrected patches from afar, and would tint the tissue from near.
  const FILL = 0.2;
  const FILLED_PX = 100;
  // Side of the box that a note is put to, in µm: large enough to be found in other programs.
  const NOTE_UM = 100;
  const NAME = "wsi-idc-name";
  const TOOLS = { i: "IDC", o: "no IDC", e: "erase" };
  const PAINTING = Object.values(TOOLS);
  const LASSO = "lasso";
  const keyOf = (box) => box.join();
  const save = data.live ? wsiIdc.saving : null;
  let layer = null;
  let tool = null;

  function makeLines() {
    const renderer = new Lines({ pane: "lines", padding: 0.5 });
    const polygon = (style) => L.polygon([], { renderer, interactive: false, smoothFactor: 0, lineJoin: "miter", ...style });
    return Object.fromEntries(Object.entries(STYLES).map(([is, style]) =>
      [is, [polygon({ color: "#fff", weight: 7, fill: false }), polygon({ ...style, fill: true, fillColor: style.color, fillOpacity: FILL })]]));
  }

  /** The corrections of the slide on show, drawn in the order of the map's other outlines. */
  class Layer {
    constructor(view) {
      this.view = view;
      this.opacity = 1;
      this.boxes = view.patches.minx.map((x, i) => [x, view.patches.miny[i], view.patches.width[i], view.patches.height[i]]);
      this.keys = this.boxes.map(keyOf);
      this.isPatch = new Set(this.keys);
      // For each map that shows them: the view's, and the one beside it.
      this.lines = new Map([[view.map, makeLines()]]);
      this.pins = L.layerGroup().addTo(view.map);
      view.map.on("zoomend", () => this.fade(this.opacity));
      this.set(view.patches.corrections ?? []);
    }

    /** Take what holds now. */
    set(corrections) {
      this.patches = new Map(corrections.filter((of) => of.isIdc !== null).map((of) => [keyOf(of.box), of]));
      this.notes = corrections.filter((of) => of.isIdc === null);
      this.draw();
    }

    /** Show what is painted before it is saved. */
    paint(indices, kind) {
      for (const i of indices) {
        if (kind === "erase") this.patches.delete(this.keys[i]);
        else this.patches.set(this.keys[i], { box: this.boxes[i], isIdc: kind === "IDC", note: "", who: name(), when: "" });
      }
      this.draw();
    }

    draw() {
      const { view } = this;
      for (const is of Object.keys(STYLES)) {
        const of = (key) => String(this.patches.get(key)?.isIdc) === is;
        const loops = outline(view.grid, (i) => of(this.keys[i]));
        for (const { box: [x, y, w, h], isIdc } of this.patches.values()) {
          if (String(isIdc) === is && !this.isPatch.has(keyOf([x, y, w, h]))) loops.push([[x, y], [x + w, y], [x + w, y + h], [x, y + h]]);
        }
        const places = loops.map((loop) => [loop.map(([x, y]) => view.place(x, y))]);
        for (const lines of this.lines.values()) for (const line of lines[is]) line.setLatLngs(places);
      }
      this.pins.clearLayers();
      for (const note of this.notes) this.pin(note);
      this.fade(this.opacity);
      const each = [...this.patches.values()];
      const idc = each.filter((of) => of.isIdc).length;
      const notes = this.notes.length ? `, ${count(this.notes.length)} note${this.notes.length === 1 ? "" : "s"}` : "";
      byId("corrected").textContent = each.length + this.notes.length
        ? `Corrected: ${count(each.length)} patch${each.length === 1 ? "" : "es"} (${count(idc)} IDC, ${count(each.length - idc)} no IDC)${notes}`
        : "Nothing is corrected.";
      view.tell();
    }

    pin(note) {
      const [x, y, w, h] = note.box;
      const marker = L.marker(this.view.place(x + w / 2, y + h / 2), {
        icon: L.divIcon({ className: "note-pin", iconSize: [24, 24], html: "✎" }), alt: "Note", riseOnHover: true,
      });
      const content = document.createElement("div");
      for (const text of [note.note || "(empty note)", [note.who, note.when.replace("T", " ").replace("+00:00", " UTC")].filter(Boolean).join(", ")]) {
        content.appendChild(document.createElement("span")).textContent = text;
      }
      marker.bindTooltip(content, { className: "tip note", direction: "top", offset: [0, -10] });
      if (save) marker.on("click", () => { if (tool !== "erase") askNote(note.box, note.note); });
      marker.addTo(this.pins);
    }

    /** Draw on another map as well, until it is gone. */
    addTo(map) {
      this.lines.set(map, makeLines());
      map.on("unload", () => this.lines.delete(map));
      this.draw();
    }

    /** Show the layer at this opacity; not at all at 0. */
    fade(opacity) {
      this.opacity = opacity;
      const patchPx = (this.view.slide.patchUm / this.view.slide.unitUm) * 2 ** this.view.map.getZoom();
      for (const [map, lines] of this.lines) {
        for (const line of Object.values(lines).flat()) {
          line.setStyle({ opacity, fillOpacity: patchPx < FILLED_PX ? FILL * opacity : 0 });
          if (opacity) line.addTo(map).bringToFront();
          else line.remove();
        }
      }
      for (const marker of this.pins.getLayers()) {
        marker.setOpacity(opacity);
        marker.getElement()?.classList.toggle("hidden", !opacity);
      }
    }

    /** What is said of a patch that is pointed at; nothing where it is not corrected. */
    tell(i) {
      const of = this.patches.get(this.keys[i]);
      if (!of) return [];
      return [`corrected: ${of.isIdc ? "IDC" : "no IDC"}${of.who ? `, by ${of.who}` : ""}`, of.note].filter(Boolean);
    }
  }

  const name = () => decodeURIComponent(document.cookie.match(new RegExp(`(?:^|; )${NAME}=([^;]*)`))?.[1] ?? "");

  function tellName() {
    byId("by").textContent = name() ? `Corrections are by ${name()}` : "Nobody is named yet";
  }

  /** Ask for something in a dialog; null where it is left. */
  function ask(id, value) {
    const dialog = byId(id);
    const field = dialog.querySelector("input, textarea");
    field.value = value;
    dialog.returnValue = "";
    dialog.showModal();
    field.select();
    return new Promise((resolve) => {
      dialog.addEventListener("close", () => resolve(dialog.returnValue === "ok" ? field.value.trim() : null), { once: true });
    });
  }

  /** Who corrects, asked once: a cookie keeps it, as the next address has another port. */
  async function who(again = false) {
    if (!again && name()) return name();
    const given = await ask("ask-name", name());
    if (given) document.cookie = `${NAME}=${encodeURIComponent(given.slice(0, 100))}; Path=/; Max-Age=31536000; SameSite=Strict`;
    tellName();
    return name() || null;
  }

  async function send(kind, boxes, note = "") {
    const of = layer;
    const by = await who();
    if (by === null) save.refresh(of);
    else await save.post(of, "corrections", { kind, boxes, who: by, note });
  }

  /** Correct patches: shown at once, then saved. */
  function correct(indices, kind) {
    if (!indices.length) return;
    layer.paint(indices, kind);
    send(kind, indices.map((i) => layer.boxes[i]));
  }

  /** The box of a note at a place, in whole level-0 pixels on the slide. */
  function boxAt(at) {
    const { view } = layer;
    const size = view.slide.mpp.map((of) => Math.max(1, Math.round(NOTE_UM / of)));
    const corner = view.placeBack(at).map((of, axis) => Math.max(0, Math.min(view.size[axis] - 1, Math.round(of - size[axis] / 2))));
    return [...corner, ...size];
  }

  async function askNote(box, before = "") {
    const note = await ask("ask-note", before);
    if (note !== null && note !== before) send("note", [box], note);
  }

  function choose(chosen) {
    tool = save && layer ? chosen : null;
    if (!save) return;
    if (tool) wsiIdc.ruler.stop();
    for (const button of document.querySelectorAll("#correct [data-tool]")) {
      button.setAttribute("aria-pressed", (button.dataset.tool || null) === tool);
    }
    if (!layer) return;
    for (const { map } of [layer.view, wsiIdc.panes.pane()].filter(Boolean)) {
      map.dragging[tool ? "disable" : "enable"]();
      map.getContainer().classList.toggle("painting", tool !== null);
    }
  }

  /**
   * Painting with the pointer: a click corrects a patch, a drag all patches that the brush passes or the lasso encloses.
   * `map`: the view's own, or one beside it.
   */
  function brush(view, map, ended) {
    if (!save) return;
    const container = map.getContainer();
    let stroke = null;
    const cell = (event) => view.placeBack(map.mouseEventToLatLng(event)).map((of, axis) => of / view.grid.pitch[axis]);
    function pass(event) {
      const to = cell(event);
      const from = stroke.at ?? to;
      const steps = Math.max(1, Math.ceil(2 * Math.hypot(to[0] - from[0], to[1] - from[1])));
      const reach = (Number(byId("brush").value) - 1) / 2;
      for (let step = 0; step <= steps; step++) {
        const [x, y] = [0, 1].map((axis) => Math.floor(from[axis] + ((to[axis] - from[axis]) * step) / steps + 1e-6));
        for (let right = -reach; right <= reach; right++) {
          for (let down = -reach; down <= reach; down++) {
            const i = view.grid.at(x + right, y + down);
            if (i >= 0) stroke.patches.add(i);
          }
        }
      }
      stroke.at = to;
      layer.paint(stroke.patches, stroke.kind);
    }
    container.addEventListener("pointerdown", (event) => {
      if (!tool || event.button !== 0 || !event.isPrimary || event.target.closest(".leaflet-control, .note-pin")) return;
      if (tool === "note") return;
      event.preventDefault();
      container.setPointerCapture(event.pointerId);
      stroke = byId("brush").value === LASSO ? new wsiIdc.lasso.Lasso(view, map) : { patches: new Set(), at: null, pass };
      // A stroke ends as it began, whatever key is pressed on the way.
      stroke.kind = tool;
      stroke.pass(event);
    }, { signal: ended });
    container.addEventListener("pointermove", (event) => stroke?.pass(event), { signal: ended });
    for (const ending of ["pointerup", "pointercancel"]) {
      container.addEventListener(ending, () => {
        if (!stroke) return;
        const { patches, kind } = stroke;
        stroke.remove?.();
        stroke = null;
        correct([...patches], kind);
      }, { signal: ended });
    }
    map.on("click", (event) => {
      if (tool === "note") askNote(boxAt(event.latlng));
    });
  }

  /** Switch between lasso and brush; without a tool in hand, the lasso is for IDC. */
  function takeLasso() {
    const field = byId("brush");
    field.value = field.value === LASSO ? "1" : LASSO;
    if (field.value === LASSO && !PAINTING.includes(tool)) choose("IDC");
  }

  /** A key that is pressed while a slide is on show; whether it meant something here. */
  function key(view, pressed) {
    if (!save) return false;
    const middle = view.map.getCenter();
    if (TOOLS[pressed]) {
      const i = view.pointed ?? view.grid.under(...view.placeBack(middle));
      if (i !== undefined) correct([i], TOOLS[pressed]);
    } else if (TOOLS[pressed.toLowerCase()]) choose(TOOLS[pressed.toLowerCase()]);
    else if (pressed === "c") askNote(boxAt((view.map.getContainer().matches(":hover") || byId("beside").matches(":hover")) && view.mouse ? view.mouse : middle));
    else if (pressed === "v" || (pressed === "Escape" && tool)) choose(null);
    else if (pressed === "a") takeLasso();
    else if (pressed === "z") save.post(layer, "corrections/undo", {});
    else return false;
    return true;
  }

  /** Show the corrections of a slide that was opened. */
  function begin(view) {
    layer = new Layer(view);
    if (view.patches.flaw) wsiIdc.viewer.say(view.patches.flaw);
    if (!save) return layer;
    choose(null);
    tellName();
    brush(view, view.map, view.ended);
    save.begin(layer);
    return layer;
  }

  function end() {
    choose(null);
    layer = null;
  }

  if (save) {
    for (const button of document.querySelectorAll("#correct [data-tool]")) {
      button.addEventListener("click", () => choose(button.dataset.tool || null));
    }
    byId("undo").addEventListener("click", () => { if (layer) save.post(layer, "corrections/undo", {}); });
    byId("change-name").addEventListener("click", () => who(true));
    // What QuPath, or another window, saved in the meantime.
    addEventListener("focus", () => { if (layer) save.refresh(layer); });
  }

  return { begin, end, key, choose, brush, layer: () => layer, tool: () => tool };
})();
