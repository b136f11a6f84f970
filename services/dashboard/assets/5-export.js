// Exports from the History page: ordered in a dialog, watched, and fetched when they are done.
(function () {
  "use strict";

  const ASK_EVERY_MS = 700;
  let number = null; // of the export under way

  const byId = (id) => document.getElementById(id);

  function order(what, format) {
    const facts = window.historyPage.facts();
    const ask = { what, format, device: facts.device, sessions: facts.shown };
    if (what === "session") return ask;
    const isPart = !facts.aligned;
    return { ...ask, sensors: facts.chosen, from: isPart ? facts.view[0] : null, until: isPart ? facts.view[1] : null };
  }

  async function begin(what, format) {
    say("Preparing…", 0);
    busy(true);
    const answer = await send("POST", "/exports", order(what, format));
    if (answer.error) return fail(answer.error);
    number = answer.id;
    follow(answer.id);
  }

  async function follow(id) {
    const answer = await send("GET", `/exports/${id}`);
    if (number !== id) return;
    if (answer.error) return fail(answer.error);
    if (answer.state === "done") return finish(answer);
    const share = answer.of ? Math.min(99, (100 * answer.done) / answer.of) : 0;
    say(answer.state === "waiting" ? "Waiting for another export to end…" : `Reading… ${Math.round(share)} %`, share);
    setTimeout(() => number === id && follow(id), ASK_EVERY_MS);
  }

  function finish(answer) {
    number = null;
    busy(false);
    const missing = answer.missing ? ` ${answer.missing.toLocaleString()} messages are missing; the file names them.` : " No message is missing.";
    say(`${answer.name}, ${size(answer.bytes)}, is being saved.${missing}`, 100);
    const link = document.createElement("a");
    link.href = `/exports/${answer.id}/file`;
    link.download = answer.name;
    document.body.append(link);
    link.click();
    link.remove();
  }

  function fail(text) {
    number = null;
    busy(false);
    say(text, 0);
  }

  /** The answer's JSON; an answer that does not come is asked for again, except where it would begin a second export. */
  async function send(method, path, body) {
    for (;;) {
      try {
        const answer = await fetch(path, {
          method,
          headers: body ? { "Content-Type": "application/json" } : {},
          body: body && JSON.stringify(body),
        });
        if (answer.status === 401) return { error: "You are signed out. Sign in again." };
        return await answer.json();
      } catch {
        if (method !== "GET") return { error: "The dashboard does not answer. Try again." };
        await new Promise((resolve) => setTimeout(resolve, 2000));
      }
    }
  }

  function say(text, share) {
    byId("export-progress").hidden = false;
    byId("export-words").textContent = text;
    byId("export-bar").value = share;
  }

  function busy(is) {
    for (const button of document.querySelectorAll("#export .order")) button.disabled = is || cannot(button);
    byId("export-cancel").style.display = is ? "" : "none";
  }

  /** A whole recording is exported only where one is chosen. */
  function cannot(button) {
    return button.dataset.what === "session" && window.historyPage.facts().shown.length !== 1;
  }

  function size(bytes) {
    if (bytes < 1e6) return `${Math.max(1, Math.round(bytes / 1e3))} kB`;
    return `${(bytes / 1e6).toFixed(1)} MB`;
  }

  document.addEventListener("click", (event) => {
    const facts = byId("history") && window.historyPage.facts();
    if (!facts || facts.state !== "seen") return;
    if (event.target.closest("#history-export")) {
      byId("export-progress").hidden = number === null;
      busy(number !== null);
      byId("export").showModal();
    }
    const choice = event.target.closest("#export .order");
    if (choice && !choice.disabled) begin(choice.dataset.what, choice.dataset.format);
    if (event.target.closest("#export-cancel") && number) {
      send("DELETE", `/exports/${number}`);
      fail("The export was cancelled.");
    }
    if (event.target.closest("#export-close") || event.target.id === "export") byId("export").close();
  });
})();
