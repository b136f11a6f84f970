// Moments in words: `time[data-at]` says how long ago, `time[data-local]` day and time in the viewer's zone.
// What time it is comes from the server's answers, counted on by a steady clock: the browser's own may be wrong.
(function () {
  "use strict";

  let offset = null;

  /** Called with the Date header of each answer (see 0-shell.js); it is right to a second. */
  function hear(date) {
    const time = Date.parse(date);
    if (!Number.isNaN(time)) offset = Math.max(offset ?? -Infinity, time - performance.now());
  }

  function ago(ms) {
    const s = Math.max(0, ms / 1000);
    if (s < 90) return `${Math.round(s)} s ago`;
    if (s < 5400) return `${Math.round(s / 60)} min ago`;
    if (s < 172800) return `${Math.round(s / 3600)} h ago`;
    return `${Math.round(s / 86400)} days ago`;
  }

  function local(ms, now) {
    const time = new Date(ms);
    const year = time.getFullYear() === new Date(now).getFullYear() ? undefined : "numeric";
    const day = time.toLocaleDateString(undefined, { day: "numeric", month: "short", year });
    return `${day}, ${time.toLocaleTimeString(undefined, { hour: "2-digit", minute: "2-digit" })}`;
  }

  function setText(element, text) {
    if (element.textContent !== text) element.textContent = text;
  }

  function tell() {
    if (document.hidden || offset === null) return;
    const now = performance.now() + offset;
    for (const time of document.querySelectorAll("time[data-at]")) setText(time, ago(now - Number(time.dataset.at)));
    for (const time of document.querySelectorAll("time[data-local]")) setText(time, local(Number(time.dataset.local), now));
  }

  window.moments = { hear, tell };
  setInterval(tell, 1000);
})();
