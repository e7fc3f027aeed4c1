"use strict";
// Which part of the page is on show: the address ends in #slide=<its folder> while a slide is open.
(() => {
  const { data, byId, gallery, viewer, places, ruler, corrections, panes } = wsiIdc;
  const MARK = "#slide=";
  const CONTEXTS = { null: "off", learned: "learned; probabilities are those with the neighbours" };
  const title = document.title;
  const waiting = new Map();
  let open = null;
  let order = [];

  /** Called by a slide's report.js. */
  wsiIdc.receive = (url, stamp, patches) => {
    waiting.get(url)?.(stamp, patches);
    waiting.delete(url);
  };

  function load(slide, onPatches) {
    const embedded = [...document.querySelectorAll("script.slide-data")].find((of) => of.dataset.url === slide.url);
    if (embedded) {
      onPatches(slide.view.stamp, JSON.parse(embedded.textContent));
      return;
    }
    waiting.set(slide.url, onPatches);
    const script = document.createElement("script");
    script.src = `${slide.url}/report.js`;
    script.addEventListener("load", () => script.remove());
    script.addEventListener("error", () => {
      script.remove();
      waiting.delete(slide.url);
      if (open === slide) viewer.say(`${script.getAttribute("src")} is not beside this page: keep report.html in its results folder, or run wsi-idc report again.`);
    });
    document.head.append(script);
  }

  /** Size and tiles of the slide itself, where the page is served with them; null where there is nothing but a picture. */
  async function ask(slide) {
    if (!slide.view.info) return null;
    try {
      const answer = await fetch(slide.view.info);
      if (answer.ok) return await answer.json();
      if (answer.status === 409) return (await answer.json()).error;
      return "The slide's file is not there any more.";
    } catch {
      return "wsi-idc view does not answer: start it again, and open the address that it prints.";
    }
  }

  function openSlide(index, place) {
    const slide = data.slides[index];
    if (!byId("cohort").hidden) order = gallery.order();
    if (!order.includes(index)) order = data.slides.map((_, i) => i);
    open = slide;
    byId("cohort").hidden = true;
    byId("slide").hidden = false;
    document.body.classList.add("viewing");
    scrollTo(0, 0);
    document.title = `${slide.name} – ${title}`;
    viewer.close();
    describe(slide);
    const at = order.indexOf(index);
    byId("place").textContent = `${at + 1} of ${order.length}`;
    for (const [id, to] of [["previous", order[at - 1]], ["next", order[at + 1]]]) {
      const link = byId(id);
      if (to === undefined) link.removeAttribute("href");
      else link.href = MARK + data.slides[to].url;
      link.setAttribute("aria-disabled", to === undefined);
    }
    byId("slide-body").hidden = !slide.view;
    byId("no-result").hidden = Boolean(slide.view);
    if (!slide.view) {
      viewer.say("");
      byId("no-result-title").textContent = slide.state === "failed" ? "This slide could not be scored" : "This slide is unfinished";
      byId("no-result-why").textContent = sentence(slide.error);
      byId("back").focus();
      return;
    }
    viewer.say("Loading …");
    const asked = ask(slide);
    load(slide, async (stamp, patches) => {
      const info = await asked;
      if (open !== slide) return;
      const notes = [slide.view.whyNoTissue, typeof info === "string" ? info : ""];
      const again = data.live ? "reload the page" : "run wsi-idc report again";
      if (stamp !== slide.view.stamp) notes.push(`This page and the slide's files are of different runs: ${again}.`);
      if (slide.state !== "ok") notes.push(sentence(slide.error));
      viewer.say(notes.filter(Boolean).join(" "));
      viewer.show(slide, patches, typeof info === "string" ? null : info);
      if (place) places.goTo(viewer.view(), place);
    });
  }

  function closeSlide() {
    const was = open;
    open = null;
    viewer.forget();
    byId("slide").hidden = true;
    byId("cohort").hidden = false;
    document.body.classList.remove("viewing");
    document.title = title;
    if (was) gallery.focus(data.slides.indexOf(was));
  }

  /** Fill in what is known of a slide without its patches. */
  function describe(slide) {
    byId("slide-name").textContent = slide.name;
    const badges = byId("slide-badges");
    badges.replaceChildren();
    const badge = (text, kind, why = "") => {
      const item = badges.appendChild(document.createElement("span"));
      item.className = `badge ${kind}`;
      item.textContent = text;
      item.title = why;
    };
    badge(slide.state, `state-${slide.state.replace(" ", "-")}`, slide.error && sentence(slide.error));
    if (slide.kind === "phantom") badge("phantom – synthetic tissue", "phantom");
    if (slide.trainedOnIt) badge("the model was trained on this slide", "seen");
    if (!slide.view) return;
    const facts = [
      ["Model", slide.model],
      ["Threshold", `${wsiIdc.thresholdText(slide.threshold)} in the run`],
      ["Context", CONTEXTS[slide.context] ?? `sigma ${slide.context} patches; probabilities are blurred`],
      ["Scale", `${[...new Set(slide.mpp.map((of) => Number(of.toFixed(4))))].join(" × ")} µm/px${slide.nominal ? " (nominal)" : ""}`],
      ["Unreadable", `${wsiIdc.count(slide.figures.unreadable)} of ${wsiIdc.count(slide.figures.patches)} patches`],
      ["Scored", `${slide.finished.replace("T", " ").replace("+00:00", " UTC")}, wsi-idc ${slide.version}`],
    ];
    byId("facts").replaceChildren(...facts.flatMap(([name, value]) => [element("dt", name), element("dd", value)]));
    const links = slide.view.files.map((file) => {
      const link = element("a", file);
      link.href = `${slide.url}/${file}`;
      return link;
    });
    byId("files").replaceChildren(...links);
    const more = slide.moreProblems ? [`and ${wsiIdc.count(slide.moreProblems)} more, all in run.json`] : [];
    byId("problems").replaceChildren(...[...slide.problems, ...more].map((problem) => element("li", problem)));
    byId("problems-box").hidden = slide.problems.length === 0;
  }

  /** A reason as a sentence of its own. */
  const sentence = (reason) => `${reason.charAt(0).toUpperCase()}${reason.slice(1)}${/[.!?]$/.test(reason) ? "" : "."}`;

  function element(tag, text) {
    const made = document.createElement(tag);
    made.textContent = text;
    return made;
  }

  function follow() {
    const [url, place] = location.hash.startsWith(MARK) ? places.parse(location.hash.slice(MARK.length)) : [null, null];
    const index = data.slides.findIndex((slide) => slide.url === url);
    if (index >= 0 && open === data.slides[index] && viewer.view() && place) places.goTo(viewer.view(), place);
    else if (index >= 0) openSlide(index, place);
    else closeSlide();
  }

  byId("gallery-table").addEventListener("click", (event) => {
    const row = event.target.closest("tbody tr");
    if (row && !event.target.closest("a")) location.hash = row.querySelector("a.name").hash;
  });
  byId("back").addEventListener("click", () => { location.hash = ""; });
  document.addEventListener("keydown", (event) => {
    const writing = event.target.matches("input:not([type=checkbox]):not([type=range]), select, textarea");
    if (!open || writing || document.querySelector("dialog[open]")) return;
    const shown = viewer.view();
    const undo = (event.ctrlKey || event.metaKey) && event.key === "z";
    if ((event.ctrlKey || event.metaKey || event.altKey) && !undo) return;
    if (event.key === "?") byId("keys").showModal();
    else if (shown && [ruler, corrections, panes, places].some((of) => of.key(shown, event.key))) { /* It was theirs. */ }
    else if (event.key === "Escape") location.hash = "";
    else if (event.key === "n") byId("next").click();
    else if (event.key === "p") byId("previous").click();
    else if (!viewer.key(event.key)) return;
    event.preventDefault();
  });
  byId("show-keys").addEventListener("click", () => byId("keys").showModal());
  for (const button of document.querySelectorAll("dialog button")) {
    button.addEventListener("click", () => button.closest("dialog").close(button.value));
  }
  for (const field of document.querySelectorAll("dialog input, dialog textarea")) {
    field.addEventListener("keydown", (event) => {
      // A note may have lines: Ctrl and Enter end it.
      if (event.key === "Enter" && (field.matches("input") || event.ctrlKey)) {
        event.preventDefault();
        field.closest("dialog").close("ok");
      }
    });
  }
  // The key of a served page was in its address, which may be shown or handed on.
  if (data.live && location.search) history.replaceState(null, "", location.pathname + location.hash);
  addEventListener("hashchange", follow);
  follow();
})();
