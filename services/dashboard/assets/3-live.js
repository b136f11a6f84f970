// The Live page: asks the server what is new, keeps it, and has the cards drawn.
//
// One question is under way at a time; the next one is asked when the answer to the last has come, so that a slow
// network never piles up questions. A hidden tab asks nothing.
(function () {
  "use strict";

  const { Points, Windows, Texts, duration } = window.readings;
  const PACE_MS = { full: 250, windows: 1000, still: 2000 };
  const STAGGER_MS = 60 * Math.random(); // how far behind the server's look at the database this page asks
  const CHOICES_MS = 5000;
  const LOST_MS = 6000; // an answer that takes longer is not waited for; doubles until one comes
  const SETTLE_MS = 3000;
  const SLICE_MS = 40; // charts are drawn for so long at a time, so that the page stays quick to the touch
  const MOST_TEXTS = 1000;
  const EVENTS = new Set(["annotation"]); // sensors whose equal texts are separate happenings
  const GREEN_MS = 3000;
  const AMBER_MS = 15000;
  const DELAY_GREEN_MS = 1500;
  const DELAY_AMBER_MS = 5000;

  const choice = { device: null, session: null, range: "30s" };
  let held = nothing();
  let question = { id: 0, askedAt: null, lostMs: LOST_MS };
  let news = null; // the newest answer
  let newsAt = 0; // when it came, on the browser's steady clock: its wall clock may be wrong
  let timer = null;
  let choices = [];
  let choicesAskedAt = -Infinity;
  const unsaid = new Set(); // sensors whose figures are old
  const dirty = new Set(); // sensors whose charts are old
  let frame = null;
  let allDrawnAt = 0;
  let newCardsAt = -Infinity; // Dash needs some frames to put cards in place, and may empty them again
  let drawMs = 0; // what drawing the last answer took: a slow machine asks less often

  function nothing() {
    return { cursor: null, step: null, cards: "", view: [0, 0], points: {}, windows: {}, latest: {}, rates: {}, texts: {}, marks: [], session: null };
  }

  function byId(id) {
    return document.getElementById(id);
  }

  function isShown() {
    return byId("live") !== null;
  }

  /** Show what the address names, from the beginning. */
  function open() {
    const query = new URLSearchParams(window.location.search);
    const range = query.get("range") || "30s";
    setProps("range", { value: range });
    window.picker.start(query.get("cards"), pickOthers);
    restart({ device: query.get("device"), session: query.get("session"), range });
  }

  /** The viewer has picked other cards: they want data from the beginning. */
  function pickOthers() {
    keepAddress();
    restart({});
  }

  function setProps(id, props) {
    window.dash_clientside.set_props(id, props);
  }

  // --- asking -------------------------------------------------------------------------------------------------

  function ask() {
    clearTimeout(timer);
    if (document.hidden || !isShown()) return;
    const now = performance.now();
    question = { id: question.id + 1, askedAt: now, lostMs: question.lostMs };
    const { cursor, step, cards } = held;
    setProps("ask", { data: { ...choice, id: question.id, cursor, step, cards, sensors: window.picker.sensors() } });
    if (now - choicesAskedAt > CHOICES_MS) {
      choicesAskedAt = now;
      setProps("ask-choices", { data: question.id });
    }
  }

  /** When the pace says so, and somewhat earlier where the answer shared an old look: the next one shares a new one. */
  function askLater() {
    const isMoving = news && news.state === "live" && news.session.is_running;
    const pace = !isMoving ? PACE_MS.still : held.step ? PACE_MS.windows : PACE_MS.full;
    const early = held.step ? 0 : Math.min(pace / 2, Math.max(0, (news.looked || 0) - STAGGER_MS));
    clearTimeout(timer);
    timer = setTimeout(ask, Math.max(20, question.askedAt + Math.max(pace, 2 * drawMs) - early - performance.now()));
    question.askedAt = null;
  }

  /** Once a second: the age grows, and a question that was lost is asked again. */
  function watch() {
    if (!isShown()) delete byId("age")?.dataset.level;
    if (document.hidden || !isShown()) return;
    if (question.askedAt !== null && performance.now() - question.askedAt > question.lostMs) {
      question.lostMs *= 2;
      showNotice("The dashboard does not answer. What you see is the last it sent; it goes on by itself.", "trouble");
      ask();
    }
    showAge();
  }

  /** Begin anew with another phone, recording or range. */
  function restart(change) {
    Object.assign(choice, change);
    const cards = "device" in change || "session" in change ? "" : held.cards;
    held = { ...nothing(), cards };
    ask();
  }

  // --- answers ------------------------------------------------------------------------------------------------

  function receive(answer) {
    if (!answer || answer.id !== question.id || !isShown()) return;
    question.lostMs = LOST_MS;
    news = answer;
    newsAt = performance.now();
    if (answer.state === "live") keep(answer);
    if (answer.state !== "away") byId("live").dataset.state = answer.state;
    showState();
    showAge();
    askLater();
  }

  function keep(answer) {
    if (answer.is_whole) held = nothing();
    held.cursor = answer.cursor || {};
    held.step = answer.view[2];
    held.view = answer.view;
    if (held.cards !== answer.cards) newCardsAt = performance.now();
    held.cards = answer.cards;
    for (const [sensor, columns] of Object.entries(answer.points || {})) {
      (held.points[sensor] = held.points[sensor] || new Points()).add(columns, answer.base);
    }
    for (const [sensor, channels] of Object.entries(answer.windows || {})) {
      const windows = (held.windows[sensor] = held.windows[sensor] || {});
      for (const [channel, rows] of Object.entries(channels)) {
        (windows[channel] = windows[channel] || new Windows()).add(rows, answer.base);
      }
    }
    held.session = answer.session.id;
    if (byId("units").textContent !== answer.session.units) byId("units").textContent = answer.session.units;
    keepLatest(answer);
    held.marks = marks();
    trim();
    window.picker.apply();
    showChoice(answer.session, answer.range);
    drawNews(answer);
  }

  function keepLatest(answer) {
    for (const [sensor, channels] of Object.entries(answer.latest || {})) {
      const latest = (held.latest[sensor] = held.latest[sensor] || {});
      for (const [channel, newest] of Object.entries(channels)) {
        if (!latest[channel] || newest[0] >= latest[channel][0]) latest[channel] = newest;
      }
    }
    Object.assign(held.rates, answer.rates || {});
    for (const [sensor, rows] of Object.entries(answer.texts || {})) {
      const areEvents = EVENTS.has(sensor.toLowerCase());
      const texts = (held.texts[sensor] = held.texts[sensor] || new Texts(MOST_TEXTS, areEvents));
      texts.add(rows);
      texts.version = question.id;
    }
  }

  /** The annotations within the view: lines across all charts. */
  function marks() {
    const rows = Object.keys(held.texts)
      .filter((sensor) => EVENTS.has(sensor.toLowerCase()))
      .flatMap((sensor) => held.texts[sensor].rows);
    return rows.filter(([time]) => time >= held.view[0] && time <= held.view[1]).map(([time, , text]) => ({ time, text }));
  }

  function trim() {
    const from = held.view[0] - held.step * 1000;
    for (const points of Object.values(held.points)) points.trim(from);
    for (const channels of Object.values(held.windows)) for (const windows of Object.values(channels)) windows.trim(from);
  }

  // --- drawing ------------------------------------------------------------------------------------------------

  /** Draw the cards with something new; the others' time axes follow once a second. */
  function drawNews(answer) {
    if (answer.is_whole || performance.now() - allDrawnAt > 1000) return drawSoon();
    for (const part of [answer.latest, answer.windows, answer.texts]) {
      for (const sensor of Object.keys(part || {})) old(sensor);
    }
    requestDrawing();
  }

  function drawSoon() {
    allDrawnAt = performance.now();
    for (const card of window.cards.all()) old(card.dataset.sensor);
    requestDrawing();
  }

  function old(sensor) {
    unsaid.add(sensor);
    dirty.add(sensor);
  }

  function requestDrawing() {
    if (frame === null) frame = requestAnimationFrame(drawDirty);
  }

  /** In one frame the figures of all cards, in the next ones their charts. */
  function drawDirty() {
    frame = null;
    if (!isShown()) return;
    const started = performance.now();
    const seen = Array.from(window.cards.all()).filter(window.cards.isInSight);
    if (seen.some((card) => unsaid.has(card.dataset.sensor))) {
      for (const card of seen) if (unsaid.delete(card.dataset.sensor)) window.cards.say(card, held);
      drawMs = performance.now() - started;
      return requestDrawing();
    }
    const areNew = started - newCardsAt < SETTLE_MS;
    let isCut = false;
    for (const card of seen) {
      const isBlank = window.cards.wasReset(card) || (areNew && !window.cards.isDrawn(card));
      if (!isBlank && !dirty.has(card.dataset.sensor)) continue;
      isCut = performance.now() - started > SLICE_MS;
      if (isCut) break;
      if (isBlank) window.cards.say(card, held);
      if (window.cards.draw(card, held)) dirty.delete(card.dataset.sensor);
    }
    drawMs += performance.now() - started;
    if (isCut || areNew) requestDrawing();
  }

  // --- words --------------------------------------------------------------------------------------------------

  function showState() {
    if (news.state === "away") {
      showNotice("The database cannot be reached. What you see is the last it gave; it goes on by itself.", "trouble");
    } else if (news.state === "live" && !news.session.is_running) {
      const newer = choices.find((other) => other.is_running && other.session !== choice.session);
      const button = newer ? { text: "Show what is being recorded now", go: newer } : null;
      showNotice(`This recording ended ${duration(news.now - news.session.seen)} ago. You see its last data.`, "ended", button);
    } else if (news.state === "live" && news.session.last === null) {
      showNotice("This recording has no readings yet.", "ended");
    } else {
      byId("notice").hidden = true;
    }
  }

  function showNotice(text, kind, button) {
    const notice = byId("notice");
    if (!notice) return;
    notice.hidden = false;
    notice.dataset.kind = kind;
    if (byId("notice-text").textContent !== text) byId("notice-text").textContent = text;
    const link = byId("notice-button");
    link.hidden = !button;
    link.textContent = button ? button.text : "";
    link.onclick = button ? () => restart({ device: button.go.device, session: button.go.session }) : null;
  }

  /** How old the newest reading is: the server's clock at the answer, and what has passed since by a steady one. */
  function showAge() {
    const age = byId("age");
    if (!age || !news) return;
    const newest = news.session && news.session.last;
    if (news.state === "empty" || news.state === "unknown" || newest === null) {
      age.dataset.level = "none";
      byId("age-text").textContent = "no readings";
      return;
    }
    const last = newest === undefined ? lastShown : newest;
    if (last === null) return;
    lastShown = last;
    const ms = news.now + (performance.now() - newsAt) - last;
    const { delay } = news;
    age.dataset.level = worse(level(ms, GREEN_MS, AMBER_MS), level(delay || 0, DELAY_GREEN_MS, DELAY_AMBER_MS));
    const isNarrow = window.innerWidth < 600;
    const ago = isNarrow ? `${duration(ms)} ago` : `newest reading ${duration(ms)} ago`;
    const words = ms < -1000 ? `phone’s clock ${duration(-ms)} ahead` : ago;
    const pipeline = Number.isFinite(delay) ? ` · ${isNarrow ? "" : "pipeline "}${duration(delay)}` : "";
    byId("age-text").textContent = words + pipeline;
    age.title = `Pipeline: from the broker to this page. Newest reading: ${new Date(last).toISOString().replace("T", " ").replace("Z", " UTC")}`;
  }
  let lastShown = null;

  function level(ms, green, amber) {
    return ms < green ? "green" : ms < amber ? "amber" : "red";
  }

  function worse(a, b) {
    return ["red", "amber"].find((one) => a === one || b === one) || "green";
  }

  // --- choosing -----------------------------------------------------------------------------------------------

  function showChoice(session, range) {
    if (choice.range !== range) {
      choice.range = range;
      setProps("range", { value: range });
    }
    const isOther = choice.device !== session.device || choice.session !== session.session;
    choice.device = session.device;
    choice.session = session.session;
    if (isOther || !byId("live").dataset.named) {
      byId("live").dataset.named = "yes";
      fillChoosers(session);
    }
    keepAddress();
  }

  function keepAddress() {
    const cards = window.picker.format();
    const query = `?${new URLSearchParams(cards ? { ...choice, cards } : choice)}`;
    if (window.location.search !== query) window.history.replaceState(null, "", query);
  }

  let filled = "";
  function fillChoosers(current) {
    const known = choices.some((row) => row.device === current.device && row.session === current.session);
    const rows = known ? choices : [...choices, current];
    const names = new Map(rows.map((row) => [row.device, row.name]));
    const devices = Array.from(names, ([value, label]) => ({ value, label }));
    const sessions = rows.filter((row) => row.device === current.device).map((row) => ({ value: row.session, label: sessionLabel(row) }));
    const now = JSON.stringify([devices, sessions, current.device, current.session]);
    if (now === filled) return;
    filled = now;
    setProps("device", { data: devices, value: current.device });
    setProps("session", { data: sessions, value: current.session });
  }

  function sessionLabel(row) {
    if (row.first === null) return "no readings yet";
    const first = new Date(row.first);
    const now = new Date(news ? news.now : row.seen);
    const year = now.getFullYear() === first.getFullYear() ? undefined : "numeric";
    const isToday = now.toDateString() === first.toDateString();
    const day = isToday ? "Today" : first.toLocaleDateString(undefined, { day: "numeric", month: "short", year });
    const time = first.toLocaleTimeString(undefined, { hour: "2-digit", minute: "2-digit" });
    const words = `${day} ${time}, ${row.is_running ? "running" : duration(row.last - row.first)}`;
    return row.title ? `${row.title}: ${words}` : words;
  }

  const noUpdate = () => window.dash_clientside.no_update;

  window.dash_clientside = Object.assign({}, window.dash_clientside, {
    live: {
      open() {
        filled = "";
        open();
        return noUpdate();
      },
      receive(answer) {
        receive(answer);
        return noUpdate();
      },
      receiveChoices(rows) {
        choices = rows || [];
        if (!isShown() || !news || news.state !== "live") return noUpdate();
        fillChoosers(news.session);
        showState();
        return noUpdate();
      },
      chooseDevice(device) {
        if (device && device !== choice.device) restart({ device, session: null });
        return noUpdate();
      },
      chooseSession(session) {
        if (session && session !== choice.session) restart({ session });
        return noUpdate();
      },
      chooseRange(range) {
        if (range && range !== choice.range) restart({ range });
        return noUpdate();
      },
    },
  });

  document.addEventListener("visibilitychange", () => {
    if (!document.hidden && news) ask();
  });
  document.addEventListener("click", (event) => {
    const value = event.target.closest("button[data-channel]");
    if (!value) return;
    value.setAttribute("aria-pressed", value.getAttribute("aria-pressed") === "false");
    drawSoon();
  });
  window.addEventListener("addresschange", () => isShown() && open());
  window.addEventListener("scroll", requestDrawing, { passive: true });
  window.addEventListener("resize", drawSoon);
  new MutationObserver(drawSoon).observe(document.documentElement, { attributeFilter: ["data-mantine-color-scheme"] });
  setInterval(watch, 1000);
})();
