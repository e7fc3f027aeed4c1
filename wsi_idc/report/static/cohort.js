"use strict";
// The cohort's matrix, figures and point on the ROC curve at any threshold.
(() => {
  const { data, byId, showCounts, bindThreshold } = wsiIdc;
  const cohort = data.cohort;
  if (!cohort) return;
  const section = byId("cohort-figures");
  const point = byId("roc-point");
  const idc = cohort.counts.tp + cohort.counts.fn;
  const none = cohort.counts.tn + cohort.counts.fp;
  // Of the frame that Python drew.
  const [left, top, side] = [44, 10, 220];

  /** Counts at a threshold: the run's own, or a step of the slider. */
  function countsAt(threshold) {
    if (threshold === cohort.threshold) return cohort.counts;
    const step = Math.round(threshold * data.steps);
    const [tp, fp] = [cohort.calledIdc[step], cohort.calledNone[step]];
    return { tp, fp, fn: idc - tp, tn: none - fp };
  }

  const set = bindThreshold(byId("cohort-threshold"), (threshold) => {
    const counts = countsAt(threshold);
    showCounts(section, counts);
    section.classList.toggle("moved", threshold !== cohort.threshold);
    if (point) {
      point.setAttribute("cx", left + side * (counts.fp / none));
      point.setAttribute("cy", top + side * (1 - counts.tp / idc));
    }
  });
  set(cohort.threshold);
})();
