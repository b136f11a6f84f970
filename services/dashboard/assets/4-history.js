// The History page: what the address names is asked for, and what is chosen or zoomed into goes into the address.
(function () {
  "use strict";

  const WAIT_MS = 8000; // an answer that takes longer is said to be slow
  const SHORTEST_MS = 1000;

  let wish = null; // what is asked for: device, sessions, sensors, from, until, aligned
  let facts = null; // the newest answer
  let asked = { id: 0, at: null };
  let timer = null;
  let isShowing = false; // an answer is being put into the choosers: their events are no choices

  const byId = (id) => document.getElementById(id);
  const isShown = () => byId("history") !== null;
  const noUpdate = () => window.dash_clientside.no_update;
  const setProps = (id, props) => window.dash_clientside.set_props(id, props);
  const zone = () => Intl.DateTimeFormat().resolvedOptions().timeZone || "UTC";

  // --- the address --------------------------------------------------------------------------------------------

  function read() {
    const query = new URLSearchParams(window.location.search);
    const number = (name) => (query.has(name) && Number.isFinite(Number(query.get(name))) ? Number(query.get(name)) : null);
    return {
      device: query.get("device"),
      sessions: query.getAll("session"),
      sensors: query.getAll("sensor"),
      from: number("from"),
      until: number("until"),
      aligned: query.get("aligned") === "1",
    };
  }

  function write(isStep) {
    const query = new URLSearchParams();
    if (wish.device) query.set("device", wish.device);
    for (const session of wish.sessions) query.append("session", session);
    for (const sensor of wish.sensors) query.append("sensor", sensor);
    if (wish.from !== null) query.set("from", Math.round(wish.from));
    if (wish.until !== null) query.set("until", Math.round(wish.until));
    if (wish.aligned) query.set("aligned", "1");
    const address = `${window.location.pathname}?${query}`;
    if (address === window.location.pathname + window.location.search) return;
    window.history[isStep ? "pushState" : "replaceState"](window.history.state, "", address);
  }

  // --- asking and answers -------------------------------------------------------------------------------------

  function ask() {
    clearTimeout(timer);
    asked = { id: asked.id + 1, at: performance.now() };
    byId("history").dataset.busy = "yes";
    setProps("history-ask", { data: { ...wish, zone: zone(), id: asked.id } });
    timer = setTimeout(() => isShown() && notice("This takes longer than usual. It goes on by itself.", "trouble"), WAIT_MS);
  }

  function change(part) {
    wish = { ...wish, ...part };
    write(true);
    ask();
  }

  function receive(answer) {
    if (!answer || answer.id !== asked.id || !isShown()) return;
    clearTimeout(timer);
    delete byId("history").dataset.busy;
    byId("history").dataset.state = answer.state;
    if (answer.state === "away") {
      notice("The database cannot be reached. What you see is the last it gave; it is asked again by itself.", "trouble");
      timer = setTimeout(() => isShown() && ask(), 2000);
      return;
    }
    facts = answer;
    if (answer.state === "empty") return notice("No phone has recorded anything yet.", "ended");
    if (answer.state === "unknown") return notice("This phone or recording is not here, or has no readings.", "ended");
    wish = { ...wish, device: answer.device, sessions: answer.shown, sensors: answer.chosen };
    write(false);
    if (answer.isEmpty) notice("Nothing was recorded in this span. “All” shows everything there is.", "ended");
    else byId("history-notice").hidden = true;
    fill();
  }

  function notice(text, kind) {
    const line = byId("history-notice");
    line.hidden = false;
    line.dataset.kind = kind;
    line.textContent = text;
  }

  /** Put the answer into the choosers. */
  function fill() {
    isShowing = true;
    setProps("history-sessions", { data: facts.sessions, value: facts.shown });
    setProps("history-sensors", { data: facts.sensors, value: facts.chosen });
    setProps("history-align", { checked: facts.aligned, disabled: facts.shown.length === 1 });
    fillDevices();
    for (const [name, time] of [["from", facts.view[0]], ["until", facts.view[1]]]) {
      const input = moment(name);
      if (input && input !== document.activeElement) input.value = localText(time);
    }
    byId("history-exact").hidden = facts.aligned;
    setTimeout(() => (isShowing = false), 0);
  }

  function fillDevices() {
    const known = facts.devices.some((row) => row.value === facts.device);
    const other = { value: facts.device, label: `Phone ${facts.device.slice(0, 8)}` };
    const rows = known ? facts.devices : [...facts.devices, other];
    setProps("history-device", { data: rows, value: facts.device });
  }

  // --- times --------------------------------------------------------------------------------------------------

  function localText(time) {
    const shifted = new Date(time - new Date(time).getTimezoneOffset() * 60000);
    return shifted.toISOString().slice(0, 19);
  }

  /** The chart's axis has local times that look like UTC: the time that such a one stands for. */
  function fromAxis(value) {
    const local = typeof value === "number" ? value : Date.parse(`${String(value).replace(" ", "T")}Z`);
    if (facts.aligned) return local;
    const first = local + new Date(local).getTimezoneOffset() * 60000;
    return local + new Date(first).getTimezoneOffset() * 60000;
  }

  function moment(name) {
    const place = document.querySelector(`#history [data-moment="${name}"]`);
    if (!place) return null;
    if (!place.firstChild) {
      const input = document.createElement("input");
      input.type = "datetime-local";
      input.step = 1;
      place.append(input);
    }
    return place.firstChild;
  }

  // --- moving -------------------------------------------------------------------------------------------------

  function show(from, until) {
    const middle = (from + until) / 2;
    const half = Math.max(SHORTEST_MS, until - from) / 2;
    change({ from: middle - half, until: middle + half });
  }

  function go(name) {
    const [from, until] = facts.view;
    const length = until - from;
    if (name === "back") show(from - length / 2, until - length / 2);
    if (name === "forward") show(from + length / 2, until + length / 2);
    if (name === "in") show(from + length / 4, until - length / 4);
    if (name === "out") show(from - length / 2, until + length / 2);
  }

  /** Show that much, around what is in the middle now, but within what there is. */
  function span(text) {
    if (text === "all") return change({ from: null, until: null });
    const length = Number(text);
    const middle = (facts.view[0] + facts.view[1]) / 2;
    const latest = Math.max(facts.whole[0] + length, facts.whole[1]);
    const until = Math.min(latest, middle + length / 2);
    show(Math.max(facts.whole[0], until - length), Math.max(facts.whole[0] + length, until));
  }

  const same = (a, b) => JSON.stringify(a) === JSON.stringify(b);

  window.dash_clientside = Object.assign({}, window.dash_clientside, {
    history: {
      open() {
        wish = read();
        facts = null;
        ask();
        return noUpdate();
      },
      receive(answer) {
        receive(answer);
        return noUpdate();
      },
      chooseDevice(device) {
        if (facts && !isShowing && device && device !== facts.device) {
          change({ device, sessions: [], from: null, until: null, aligned: false });
        }
        return noUpdate();
      },
      chooseSessions(sessions) {
        if (facts && !isShowing && sessions && !same(sessions, facts.shown)) change({ sessions, from: null, until: null });
        return noUpdate();
      },
      chooseSensors(sensors) {
        if (facts && !isShowing && sessionsChosen(sensors) && !same(sensors, facts.chosen)) change({ sensors });
        return noUpdate();
      },
      align(aligned) {
        if (facts && !isShowing && aligned !== facts.aligned) change({ aligned, from: null, until: null });
        return noUpdate();
      },
      zoom(relayout) {
        const from = relayout && relayout["xaxis.range[0]"];
        const until = relayout && relayout["xaxis.range[1]"];
        if (facts && from !== undefined && until !== undefined) show(fromAxis(from), fromAxis(until));
        return noUpdate();
      },
    },
  });

  function sessionsChosen(sensors) {
    return Array.isArray(sensors) && sensors.length > 0;
  }

  document.addEventListener("click", (event) => {
    if (!isShown() || !facts || facts.state !== "seen") return;
    const button = event.target.closest("#history [data-go], #history [data-span]");
    if (!button) return;
    if (button.dataset.go) go(button.dataset.go);
    else span(button.dataset.span);
  });
  document.addEventListener("submit", (event) => {
    if (event.target.id !== "history-exact") return;
    event.preventDefault();
    const [from, until] = ["from", "until"].map((name) => Date.parse(moment(name).value));
    if (Number.isFinite(from) && Number.isFinite(until) && from < until) change({ from, until });
    else notice("Choose a time to begin with and a later one to end with.", "trouble");
  });
  window.addEventListener("addresschange", () => isShown() && window.dash_clientside.history.open());
  window.addEventListener("popstate", () => isShown() && window.dash_clientside.history.open());

  window.historyPage = { facts: () => facts };
})();
