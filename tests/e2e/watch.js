// Runs in every page before its own scripts: remembers what each answer showed, frame by frame.
(() => {
  if (window !== window.top) return; // the frame for diagrams is no page
  const KEPT = "watch";
  const { texts, faults } = JSON.parse(sessionStorage.getItem(KEPT) ?? '{"texts":{},"faults":[]}');
  const watch = { texts, faults, frames: 0, violations: [], shifts: [], long: [] };
  window.watch = watch;

  const textOf = (article) =>
    Array.from(article.querySelectorAll('[class*="markdown"]'), (node) => node.textContent).join("");

  // An answer's text may only grow, also over a reload: the texts outlive the page in this tab.
  const look = () => {
    due = false;
    watch.frames += 1;
    for (const article of document.querySelectorAll("article[data-request]")) {
      const request = article.dataset.request;
      const [before, now] = [texts[request] ?? "", textOf(article)];
      if (now === before) continue;
      if (!now.startsWith(before)) {
        faults.push({ request, from: before.length, to: now.length, end: now.slice(-40) });
      }
      texts[request] = now;
    }
    sessionStorage.setItem(KEPT, JSON.stringify({ texts, faults }));
  };

  // What is painted counts: a look in the frame after a change, and one that hidden tabs get too.
  let due = false;
  const observer = new MutationObserver(() => {
    if (due) return;
    due = true;
    if (document.hidden) setTimeout(look);
    else requestAnimationFrame(look);
  });
  if (!window.unwatched) {
    observer.observe(document, { subtree: true, childList: true, characterData: true });
  }

  document.addEventListener("securitypolicyviolation", (event) =>
    watch.violations.push(`${event.violatedDirective} ${event.blockedURI}`),
  );
  const note = (type, take) =>
    new PerformanceObserver((list) => list.getEntries().forEach(take)).observe({
      type,
      buffered: true,
    });
  note("layout-shift", (entry) => {
    const what = entry.sources.map(({ node, previousRect: from, currentRect: to }) =>
      `${node?.className ?? node?.nodeName} ${from.y}+${from.height} > ${to.y}+${to.height}`,
    );
    if (!entry.hadRecentInput) watch.shifts.push({ at: entry.startTime, value: entry.value, what });
  });
  note("longtask", (entry) => watch.long.push({ at: entry.startTime, ms: entry.duration }));
})();
