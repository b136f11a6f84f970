// The frame: which page is shown. Loaded before the scripts of the pages.
//
// A page's script begins when its root element is put in place (a clientside callback on the root's `id`), and stops by
// itself when that is gone: its timers look for it. When only the query of the address changes, `addresschange` tells.
(function () {
  "use strict";

  let shown = null;

  // Whoever is no longer signed in is asked to sign in again, and comes back to the same place.
  const ask = window.fetch;
  window.fetch = async (...what) => {
    const answer = await ask(...what);
    window.moments.hear(answer.headers.get("Date"));
    requestAnimationFrame(() => requestAnimationFrame(window.moments.tell));
    if (answer.status === 401) {
      const place = window.location.pathname + window.location.search;
      window.location.assign(`/sign-in?next=${encodeURIComponent(place)}`);
    }
    return answer;
  };

  window.dash_clientside = Object.assign({}, window.dash_clientside, {
    shell: {
      /** Mark the page's link and name the page in the tab. */
      arrive(path, _search, titles) {
        document.title = titles[path] ? `${titles[path]} · Sensor Stream` : "Sensor Stream";
        for (const link of document.querySelectorAll("#navigation a")) {
          if (link.getAttribute("href") === path) link.setAttribute("aria-current", "page");
          else link.removeAttribute("aria-current");
        }
        if (shown === path) window.dispatchEvent(new Event("addresschange"));
        else window.scrollTo(0, 0);
        shown = path;
        return window.dash_clientside.no_update;
      },

      /** What the button says that was pressed; buttons that have only just appeared call too. */
      pressed() {
        const { triggered, triggered_id: button } = window.dash_clientside.callback_context;
        if (!triggered.some((one) => one.value)) return window.dash_clientside.no_update;
        return { action: button.action, subject: button.subject, at: Date.now() };
      },

      /** Let a pulse pass while somebody looks. */
      whenSeen(count) {
        return document.hidden ? window.dash_clientside.no_update : count;
      },
    },
  });
})();
