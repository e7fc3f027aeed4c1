"use strict";
// What all parts of the page share. Names of slides only ever go into the page as text, never as HTML.
const wsiIdc = (() => {
  const data = JSON.parse(document.getElementById("wsi-idc-data").textContent);
  const byId = (id) => document.getElementById(id);
  const share = (part, whole) => (whole ? part / whole : null);

  /** Figures that follow from the four counts; null where undefined, as in metrics.json. */
  function figuresOf({ tn, fp, fn, tp }) {
    const sensitivity = share(tp, tp + fn);
    const specificity = share(tn, tn + fp);
    const both = sensitivity !== null && specificity !== null;
    return {
      accuracy: share(tp + tn, tp + tn + fp + fn),
      balanced_accuracy: both ? (sensitivity + specificity) / 2 : null,
      sensitivity,
      specificity,
      precision: share(tp, tp + fp),
      npv: share(tn, tn + fn),
      f1: share(2 * tp, 2 * tp + fp + fn),
    };
  }

  const figure = (value, decimals = 3) => (value === null || value === undefined ? "–" : value.toFixed(decimals));
  const count = (value) => value.toLocaleString("en");

  /** A threshold in two to four decimals. */
  function thresholdText(value) {
    const short = value.toFixed(4).replace(/0+$/, "");
    return short.length >= 4 ? short : value.toFixed(2);
  }

  /** Fill a confusion matrix and the figures beside it. */
  function showCounts(root, counts) {
    const rows = { tn: counts.tn + counts.fp, fp: counts.tn + counts.fp, fn: counts.fn + counts.tp, tp: counts.fn + counts.tp };
    for (const [key, total] of Object.entries(rows)) {
      const cell = root.querySelector(`[data-cell="${key}"]`);
      const part = share(counts[key], total);
      cell.querySelector(".count").textContent = count(counts[key]);
      cell.querySelector(".share").textContent = part === null ? "–" : `${(100 * part).toFixed(1)} %`;
      cell.style.setProperty("--share", part ?? 0);
    }
    const figures = figuresOf(counts);
    for (const cell of root.querySelectorAll("[data-figure]")) {
      if (cell.dataset.figure in figures) cell.textContent = figure(figures[cell.dataset.figure]);
    }
  }

  /**
   * Tie a slider, a number beside it and a reset button together.
   * The run's own threshold has more decimals than the slider: it counts in full until something is moved.
   * Where `data-steps` is set, a number that is typed is rounded to the slider's steps.
   */
  function bindThreshold(root, onChange) {
    const [slider, number, reset] = ["input[type=range]", "input[type=number]", "button"].map((of) => root.querySelector(of));
    let initial = 0.5;
    let waiting = null;
    function show(value, from) {
      if (from !== slider) slider.value = value;
      if (from !== number) number.value = thresholdText(value);
      slider.setAttribute("aria-valuetext", thresholdText(value));
      root.style.setProperty("--threshold", value);
      reset.disabled = value === initial;
      // One redraw a frame, however fast the slider moves.
      if (waiting === null) requestAnimationFrame(() => { const last = waiting; waiting = null; onChange(last); });
      waiting = value;
    }
    slider.addEventListener("input", () => show(Number(slider.value), slider));
    number.addEventListener("input", () => {
      const steps = Number(root.dataset.steps);
      const value = steps ? Math.round(number.value * steps) / steps : Number(number.value);
      if (number.value !== "" && value >= 0 && value <= 1) show(value, number);
    });
    reset.addEventListener("click", () => { show(initial); slider.focus(); });
    /** Set the run's own threshold, and show it or another. */
    return (value, current = value) => {
      initial = value;
      reset.textContent = `Reset to ${thresholdText(value)}`;
      show(current);
    };
  }

  // A browser takes focus that a script gives after a click for focus by keys.
  addEventListener("keydown", () => document.documentElement.classList.add("by-keys"), true);
  addEventListener("pointerdown", () => document.documentElement.classList.remove("by-keys"), true);
  const byKeys = () => document.documentElement.classList.contains("by-keys");

  return { data, byId, figuresOf, figure, count, thresholdText, showCounts, bindThreshold, byKeys };
})();
