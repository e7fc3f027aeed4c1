"use strict";
// Corrections on their way to the server that this page comes from, one after the other.
wsiIdc.saving = (() => {
  const { data, byId } = wsiIdc;
  if (!data.live) return null;
  let waiting = 0;
  let last = Promise.resolve();

  async function ask(of, path, body) {
    const options = body && { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) };
    let answer;
    try {
      answer = await fetch(`${of.view.slide.url}/${path}`, options);
    } catch {
      throw new Error("wsi-idc view does not answer: start it again, and open the address that it prints.");
    }
    if (answer.ok) return answer.json();
    const told = (answer.headers.get("Content-Type") ?? "").startsWith("application/json") ? (await answer.json()).error : await answer.text();
    throw new Error(told.trim());
  }

  function show(of, state) {
    if (of !== wsiIdc.corrections.layer()) return;
    of.set(state.corrections);
    byId("undo").disabled = state.undoable === 0;
  }

  /** Ask for what holds now, unless something is still to be saved. */
  async function refresh(of) {
    if (waiting) return;
    try {
      const state = await ask(of, "corrections");
      if (!waiting) show(of, state);
    } catch (error) {
      byId("saved").textContent = error.message;
    }
  }

  /** Save a change. What the server then holds is shown when nothing else is on its way. */
  function post(of, path, body) {
    waiting += 1;
    byId("saved").textContent = "Saving …";
    last = last.then(async () => {
      let state = null;
      let told = `Saved in ${of.view.slide.name}/corrections.geojson`;
      try {
        state = await ask(of, path, body);
      } catch (error) {
        told = `Not saved: ${error.message}`;
      }
      waiting -= 1;
      if (!waiting) byId("saved").textContent = told;
      if (state && !waiting) show(of, state);
      else if (!state && !waiting) {
        try {
          show(of, await ask(of, "corrections"));
        } catch {
          // What could not be saved stays on the screen, as long as nothing says what holds.
        }
      }
    });
    return last;
  }

  function begin(of) {
    byId("saved").textContent = "";
    byId("undo").disabled = true;
    refresh(of);
  }

  addEventListener("beforeunload", (event) => { if (waiting) event.preventDefault(); });

  return { begin, refresh, post };
})();
