
(() => {
  "use strict";
  const root = document.documentElement, data = root.dataset;
  const refresh = Number(data.refresh), written = Number(data.written);
  const key = "denoise_daisy " + location.pathname;
  const FOCUSABLE = "a[href], button, summary, [tabindex='0']";
  let kept = {};
  try { kept = JSON.parse(sessionStorage.getItem(key)) || {}; } catch { /* nothing kept */ }
  const keep = () => {
    try { sessionStorage.setItem(key, JSON.stringify(kept)); } catch { /* not kept */ }
  };
  const inside = element => [...element.querySelectorAll(FOCUSABLE)];

  for (const details of document.querySelectorAll("details[id]")) {
    if (kept.open && details.id in kept.open) details.open = kept.open[details.id];
    details.addEventListener("toggle", () => {
      kept.open = { ...kept.open, [details.id]: details.open };
      keep();
    });
  }
  if (kept.again) {
    kept.again = false;
    keep();
    const [id, number] = kept.focus || [];
    const home = id && document.getElementById(id);
    if (home) (inside(home)[number] || home).focus({ preventScroll: true });
    scrollTo(0, kept.y || 0);
  }

  const age = () => Date.now() / 1000 - written;
  const stale = document.getElementById("stale");
  const pause = document.getElementById("pause");
  if (!refresh) return;
  const say = () => {
    pause.textContent = kept.paused ? "Refresh again" : "Pause refreshing";
    const minutes = Math.round(age() / 60);
    stale.hidden = age() < Math.max(600, 6 * refresh);
    if (!stale.hidden && stale.dataset.minutes !== String(minutes)) {
      stale.dataset.minutes = minutes;
      stale.textContent = `This page was last written ${minutes} min ago, by this ` +
        "device's clock. The scheduler may have been killed: ask denoise-daisy status.";
    }
  };
  pause.hidden = false;
  pause.addEventListener("click", () => { kept.paused = !kept.paused; keep(); say(); });
  say();
  const again = () => {
    say();
    if (kept.paused || document.hidden || String(getSelection())) return;
    const active = document.activeElement;
    const home = active && active !== document.body && active.closest("[id]");
    kept.focus = home ? [home.id, inside(home).indexOf(active)] : null;
    kept.y = scrollY;
    kept.again = true;
    keep();
    location.reload();
  };
  setInterval(again, 1000 * refresh);
  document.addEventListener("visibilitychange", () => { if (age() > refresh) again(); });
})();
