"use strict";
// The cohort's matrix, figures and point on the ROC curve at any threshold.
(() => {
  const { data, byId, count, showCounts, bindThreshold } = wsiIdc;
  const cohort = data.cohort;
  if (!cohort) return;
  const section = byId("cohort-figures");
  const point = byId("roc-point");
  const idc = cohort.counts.tp + cohort.counts.fn;
  const none = cohort.counts.tn + cohort.counts.fp;
  // Of the frame that Python drew.
  const [left, top, side] = [44, 10, 220];

  // The counts of the slides in the list, where it does not show all.
  let filtered = null;

  /** Counts at a threshold: the run's own, or a step of the slider. */
  function countsAt(threshold) {
    if (threshold === cohort.threshold) return cohort.counts;
    const step = Math.round(threshold * data.steps);
    const [tp, fp] = [cohort.calledIdc[step], cohort.calledNone[step]];
    return { tp, fp, fn: idc - tp, tn: none - fp };
  }

  const set = bindThreshold(byId("cohort-threshold"), (threshold) => {
    const counts = filtered ?? countsAt(threshold);
    showCounts(section, counts);
    section.classList.toggle("moved", filtered !== null || threshold !== cohort.threshold);
    if (point && !filtered) {
      point.setAttribute("cx", left + side * (counts.fp / none));
      point.setAttribute("cy", top + side * (1 - counts.tp / idc));
    }
  });
  const all = byId("cohort-of").textContent;
  const controls = byId("cohort-threshold").querySelectorAll("input, button");
  /** Sum up the slides that the list shows; all of them where it shows all. */
  wsiIdc.sumUp = (indices) => {
    const whole = indices.length === data.slides.length;
    section.classList.toggle("filtered", !whole);
    for (const control of controls) control.disabled = !whole;
    byId("cohort-of").textContent = all;
    filtered = null;
    set(cohort.threshold);
    if (whole) return;
    const counts = { tn: 0, fp: 0, fn: 0, tp: 0 };
    const labelled = indices.map((i) => data.slides[i].counts).filter(Boolean);
    for (const of of labelled) Object.keys(counts).forEach((key, i) => { counts[key] += of[i]; });
    filtered = counts;
    const patches = Object.values(counts).reduce((sum, of) => sum + of, 0);
    byId("cohort-of").textContent =
      `${count(patches)} patches of ${count(labelled.length)} slide${labelled.length === 1 ? "" : "s"} in the list below, each at the threshold of its run; curves and areas are of all slides`;
  };
  set(cohort.threshold);
})();
