// The cards of the sensors: draws into them what the page holds. Only those in sight are drawn.
(function () {
  "use strict";

  const { gapOfReadings, gapOfWindows, withGaps, thinned, band, inMetres, figure, rate, duration } = window.readings;
  const FEW_POINTS = 200; // up to so many are drawn as dots too, so that a single one is seen
  const MOST_LISTED = 30; // texts of a card's list
  const LONGEST_MARK = 18; // characters of an annotation beside its line
  const THEMES = {
    light: { font: "#495057", grid: "rgba(73,80,87,0.15)", hover: "#ffffff", border: "#ced4da" },
    dark: { font: "#c9c9c9", grid: "rgba(255,255,255,0.11)", hover: "#2e2e2e", border: "#424242" },
  };

  const drawn = new WeakMap(); // graph element -> the arrays it was given last

  function theme() {
    return THEMES[document.documentElement.getAttribute("data-mantine-color-scheme") === "dark" ? "dark" : "light"];
  }

  function all() {
    return document.querySelectorAll("#cards > [data-sensor]");
  }

  function isInSight(element) {
    const box = element.getBoundingClientRect();
    return box.bottom > -200 && box.top < window.innerHeight + 200;
  }

  function part(card, name) {
    return card.querySelector(`[data-part="${name}"]`);
  }

  function setText(element, text) {
    if (element && element.textContent !== text) element.textContent = text;
  }

  /** Set a figure; its place grows to the longest seen and stays, so that neighbours do not jump. */
  function setFigure(element, text) {
    setText(element, text);
    const widest = Math.max(text.length, Number(element.dataset.widest || 0));
    if (String(widest) === element.dataset.widest) return;
    element.dataset.widest = widest;
    element.style.minWidth = `${widest - 0.4}ch`;
  }

  /** Difference of the viewer's zone to UTC in ms at `time`: charts show the viewer's time. */
  function zone(time) {
    return -new Date(time).getTimezoneOffset() * 60000;
  }

  /** Put figures and texts of one card in place, which is quick (see 3-live.js for `held`). */
  function say(card, held) {
    const sensor = card.dataset.sensor;
    drawFigures(card, sensor, held);
    drawTexts(card, held.texts[sensor], held);
    const body = part(card, "body");
    if (body) window.body.turn(body, held.latest[sensor] || {});
  }

  /** Draw the chart of one card; false if it is not there yet. */
  function draw(card, held) {
    const sensor = card.dataset.sensor;
    const holder = card.querySelector("[data-chart]");
    if (!holder) return true;
    const graph = holder.querySelector(".js-plotly-plot");
    if (!graph || !graph.data || !window.Plotly) return false;
    const isChart = holder.dataset.chart === "chart";
    const count = isChart ? drawChart(card, graph, sensor, held) : drawWay(graph, sensor, held, holder.dataset.chart);
    setText(part(card, "note"), count ? "" : note(held));
    return true;
  }

  function note(held) {
    const length = held.view[1] - held.view[0];
    return `No reading in the ${held.step ? "time shown" : `last ${duration(length)}`}.`;
  }

  function drawFigures(card, sensor, held) {
    setText(part(card, "rate"), rate(held.rates[sensor]));
    const latest = held.latest[sensor] || {};
    for (const value of card.querySelectorAll("[data-channel]")) {
      const newest = latest[value.dataset.channel];
      setFigure(part(value, "value"), figure(value.dataset.channel, newest && newest[1]));
      const isOld = newest && held.view[1] - newest[0] > 60000;
      value.title = newest ? new Date(newest[0]).toLocaleString() + (isOld ? ", since then nothing new" : "") : "";
    }
  }

  function drawTexts(card, texts, held) {
    for (const value of card.querySelectorAll("[data-text-channel]")) {
      const newest = (texts && texts.newest[value.dataset.textChannel]) || "–";
      value.hidden = window.states.isPicture(newest);
      setText(part(value, "value"), value.hidden ? "" : newest);
      value.title = value.hidden ? "" : newest;
    }
    const lanes = part(card, "lanes");
    if (lanes) {
      window.states.draw(lanes, texts, held.view);
      window.states.drawPicture(part(card, "picture"), texts, card.dataset.sensor, held.session);
    }
    const list = part(card, "texts");
    if (!list || !texts || list.dataset.shown === String(texts.version)) return;
    list.dataset.shown = String(texts.version);
    list.replaceChildren(...texts.rows.slice(-MOST_LISTED).reverse().map(textRow));
  }

  /** One text as an item of the list; textContent keeps it text whatever it holds. */
  function textRow([time, channel, value]) {
    const item = document.createElement("li");
    const moment = document.createElement("time");
    const at = new Date(time);
    moment.dateTime = at.toISOString();
    moment.title = at.toISOString().replace("T", " ").replace("Z", " UTC");
    moment.textContent = at.toLocaleTimeString();
    const name = document.createElement("span");
    name.className = "channel";
    name.textContent = channel;
    const text = document.createElement("span");
    text.className = "text";
    text.textContent = value;
    item.append(moment, name, text);
    return item;
  }

  function hiddenChannels(card) {
    const off = card.querySelectorAll('[data-channel][aria-pressed="false"]');
    return new Set(Array.from(off, (value) => value.dataset.channel));
  }

  /** Give the chart what there is to show; returns how many points. */
  function drawChart(card, graph, sensor, held) {
    const shift = zone(held.view[1]);
    const width = Math.max(1, (held.view[1] - held.view[0]) / Math.max(1, graph.clientWidth));
    const off = hiddenChannels(card);
    const lines = {};
    let count = 0;
    for (const trace of graph.data) {
      const channel = trace.meta.channel;
      const isLine = trace.meta.part === "line";
      const line = lines[channel] || (lines[channel] = lineOf(held, sensor, channel, shift, width));
      const shown = isLine ? line : line.band;
      trace.x = shown.x;
      trace.y = shown.y;
      trace.visible = !off.has(channel) && shown.x.length > 0;
      if (isLine) trace.mode = !held.step && line.x.length <= FEW_POINTS ? "lines+markers" : "lines";
      count += isLine ? line.x.length : 0;
    }
    drawn.set(graph, graph.data[0].x);
    const layout = graph.layout;
    const range = [held.view[0] + shift, held.view[1] + shift];
    Object.assign(layout.xaxis, { autorange: false, range, tickformat: tickFormat(held) });
    layout.shapes = held.marks.map((mark) => markLine(mark, shift));
    paint(layout);
    layout.datarevision = (layout.datarevision || 0) + 1;
    window.Plotly.react(graph, graph.data, layout);
    return count;
  }

  /** An annotation as a line across the chart, with its beginning as words. */
  function markLine({ time, text }, shift) {
    const { font } = theme();
    const words = text.length > LONGEST_MARK ? `${text.slice(0, LONGEST_MARK - 1)}…` : text;
    return {
      type: "line",
      yref: "paper",
      x0: time + shift,
      x1: time + shift,
      y0: 0,
      y1: 1,
      line: { color: font, width: 1, dash: "dot" },
      label: { text: escaped(words), textposition: "end", textangle: 90, xanchor: "left", yanchor: "bottom", font: { size: 10, color: font } },
    };
  }

  /** Text as text for Plotly, which takes some of HTML for markup. */
  function escaped(text) {
    return text.replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;");
  }

  function tickFormat(held) {
    const length = held.view[1] - held.view[0];
    if (length > 86400000) return "%e %b %H:%M";
    return length > 1800000 ? "%H:%M" : "%H:%M:%S";
  }

  function lineOf(held, sensor, channel, shift, width) {
    const { x, y } = valuesOf(held, sensor, channel);
    if (!held.step) return { ...thinned(withGaps(x, y, gapOfReadings(x), shift), width), band: { x: [], y: [] } };
    const windows = (held.windows[sensor] || {})[channel];
    const gap = gapOfWindows(x, held.step, held.rates[sensor] || 0);
    const middle = shift + held.step * 500; // a mean stands in the middle of its window
    return { ...withGaps(x, y, gap, middle), band: windows ? band(windows, gap, middle) : { x: [], y: [] } };
  }

  /** Give the track its places; returns how many it shows. */
  function drawWay(graph, sensor, held, kind) {
    const places = placesOf(held, sensor);
    const last = places.times.length - 1;
    drawn.set(graph, places.times);
    if (last < 0) return 0;
    const titles = places.times.map((time) => new Date(time).toLocaleTimeString());
    const text = [titles, [], [titles[last]]];
    const accuracy = ((held.latest[sensor] || {}).horizontalAccuracy || [0, 0])[1];
    const disc = circle(accuracy);
    if (kind === "map") {
      const center = { lat: places.latitude[last], lon: places.longitude[last] };
      const round = inDegrees(disc, center);
      const update = { lat: [places.latitude, round.lat, [center.lat]], lon: [places.longitude, round.lon, [center.lon]], text };
      window.Plotly.update(graph, update, { "map.center": center });
    } else {
      const metres = inMetres(places.latitude, places.longitude);
      const here = { x: metres.x[last], y: metres.y[last] };
      paint(graph.layout);
      window.Plotly.update(
        graph,
        { x: [metres.x, disc.x, [here.x]], y: [metres.y, disc.y, [here.y]], text },
        squareRanges({ x: metres.x.concat(disc.x), y: metres.y.concat(disc.y) }, graph),
      );
    }
    return last + 1;
  }

  /** A circle of that radius (m) around (0, 0); nothing where the radius is not known. */
  function circle(radius) {
    const angles = radius > 0 ? Array.from({ length: 49 }, (_, n) => (n * Math.PI) / 24) : [];
    return { x: angles.map((angle) => radius * Math.sin(angle)), y: angles.map((angle) => radius * Math.cos(angle)) };
  }

  function inDegrees(metres, center) {
    const perDegree = 111320;
    return {
      lat: metres.y.map((north) => center.lat + north / perDegree),
      lon: metres.x.map((east) => center.lon + east / (perDegree * Math.cos((center.lat * Math.PI) / 180))),
    };
  }

  /** Times and places that have both coordinates (readings, or the means of windows), with nulls where some are missing. */
  function placesOf(held, sensor) {
    const latitude = valuesOf(held, sensor, "latitude");
    const longitude = valuesOf(held, sensor, "longitude");
    const east = new Map(longitude.x.map((time, place) => [time, longitude.y[place]]));
    const gap = held.step ? gapOfWindows(latitude.x, held.step, held.rates[sensor] || 0) : gapOfReadings(latitude.x);
    const places = { times: [], latitude: [], longitude: [] };
    const add = (time, north, value) => {
      places.times.push(time);
      places.latitude.push(north);
      places.longitude.push(value);
    };
    latitude.x.forEach((time, place) => {
      if (!east.has(time)) return;
      const before = places.times[places.times.length - 1];
      if (time - before > gap) add(before, null, null);
      add(time, latitude.y[place], east.get(time));
    });
    return places;
  }

  function valuesOf(held, sensor, channel) {
    if (!held.step) return held.points[sensor] ? held.points[sensor].of(channel) : { x: [], y: [] };
    const windows = (held.windows[sensor] || {})[channel];
    return windows ? { x: windows.x, y: windows.mean } : { x: [], y: [] };
  }

  /** Ranges with one scale on both axes that hold the whole way and are at least 20 m high. */
  function squareRanges(metres, graph) {
    const size = graph._fullLayout._size;
    const span = (values) => {
      const known = values.filter((value) => value !== null);
      return [Math.min(...known), Math.max(...known)];
    };
    const [west, east] = span(metres.x);
    const [south, north] = span(metres.y);
    const perPixel = Math.max((east - west) / size.w, (north - south) / size.h, 20 / size.h) * 1.15;
    const around = (low, high, pixels) => [(low + high - perPixel * pixels) / 2, (low + high + perPixel * pixels) / 2];
    return { "xaxis.range": around(west, east, size.w), "yaxis.range": around(south, north, size.h) };
  }

  /** Put the colors of the scheme that is on into `layout`. */
  function paint(layout) {
    const { font, grid, hover, border } = theme();
    layout.font = { ...layout.font, color: font };
    layout.hoverlabel = { bgcolor: hover, bordercolor: border, font: { color: font } };
    for (const name of Object.keys(layout)) {
      if (/^[xy]axis\d*$/.test(name)) layout[name].gridcolor = grid;
    }
  }

  /** True when Dash has put an empty figure where the last drawing was. */
  function wasReset(card) {
    const graph = card.querySelector("[data-chart] .js-plotly-plot");
    if (!graph || !graph.data || !drawn.has(graph)) return false;
    const shown = graph.data[0].x || graph.data[0].lon || [];
    return drawn.get(graph).length > 0 && shown.length === 0;
  }

  /** True when the card's chart, if it has one, has been drawn into. */
  function isDrawn(card) {
    const holder = card.querySelector("[data-chart]");
    return !holder || drawn.has(holder.querySelector(".js-plotly-plot"));
  }

  window.cards = { all, say, draw, isInSight, isDrawn, wasReset };
})();
