// The cards of the sensors: draws into them what the page holds. Only those in sight are drawn.
(function () {
  "use strict";

  const { gapOf, withGaps, band, inMetres, figure, rate, duration } = window.readings;
  const LEAST_GAP_MS = 100; // at full rate: shorter pauses are the phone's own unevenness
  const FEW_POINTS = 200; // up to so many are drawn as dots too, so that a single one is seen
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

  /** Difference of the viewer's zone to UTC in ms at `time`: charts show the viewer's time. */
  function zone(time) {
    return -new Date(time).getTimezoneOffset() * 60000;
  }

  /** Draw one card from `held` (see 3-live.js); false if its chart is not there yet. */
  function draw(card, held) {
    const sensor = card.dataset.sensor;
    drawFigures(card, sensor, held);
    drawTexts(card, held.texts[sensor]);
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
      setText(part(value, "value"), figure(value.dataset.channel, newest && newest[1]));
      const isOld = newest && held.view[1] - newest[0] > 60000;
      value.title = newest ? new Date(newest[0]).toLocaleString() + (isOld ? ", since then nothing new" : "") : "";
    }
  }

  function drawTexts(card, texts) {
    const list = part(card, "texts");
    if (!list || !texts || list.dataset.shown === String(texts.version)) return;
    list.dataset.shown = String(texts.version);
    list.replaceChildren(...texts.rows.slice().reverse().map(textRow));
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

  /** Give the chart its new points; returns how many it shows. */
  function drawChart(card, graph, sensor, held) {
    const shift = zone(held.view[1]);
    const off = hiddenChannels(card);
    const update = { x: [], y: [], mode: [], visible: [] };
    const lines = {};
    let count = 0;
    for (const trace of graph.data) {
      const channel = trace.meta.channel;
      const line = lines[channel] || (lines[channel] = lineOf(held, sensor, channel, shift));
      const shown = trace.meta.part === "band" ? line.band : line;
      count += trace.meta.part === "line" ? line.x.length : 0;
      update.x.push(shown.x);
      update.y.push(shown.y);
      update.mode.push(trace.meta.part === "line" && line.x.length <= FEW_POINTS && !held.step ? "lines+markers" : "lines");
      update.visible.push(!off.has(channel));
    }
    const layout = { "xaxis.range": [held.view[0] + shift, held.view[1] + shift], ...colors("xaxis", "yaxis") };
    layout["xaxis.tickformat"] = held.view[1] - held.view[0] > 86400000 ? "%e %b %H:%M" : held.step >= 10 ? "%H:%M" : "%H:%M:%S";
    drawn.set(graph, update.x[0]);
    window.Plotly.update(graph, update, layout);
    return count;
  }

  function lineOf(held, sensor, channel, shift) {
    if (!held.step) {
      const points = held.points[sensor] ? held.points[sensor].of(channel) : { x: [], y: [] };
      const line = withGaps(points.x, points.y, gapOf(points.x, LEAST_GAP_MS), shift);
      return { ...line, band: { x: [], y: [] } };
    }
    const windows = (held.windows[sensor] || {})[channel];
    if (!windows) return { x: [], y: [], band: { x: [], y: [] } };
    const gap = gapOf(windows.x, 2500 * held.step) ;
    const middle = shift + held.step * 500; // a mean stands in the middle of its window
    return { ...withGaps(windows.x, windows.mean, gap, middle), band: band(windows, gap, middle) };
  }

  /** Give the track its places; returns how many it shows. */
  function drawWay(graph, sensor, held, kind) {
    const places = placesOf(held, sensor);
    const count = places.times.length;
    const titles = places.times.map((time) => new Date(time).toLocaleTimeString());
    const last = count - 1;
    drawn.set(graph, titles);
    if (!count) return 0;
    const layout = kind === "map" ? {} : colors("xaxis", "yaxis");
    let update;
    if (kind === "map") {
      update = {
        lat: [places.latitude, [places.latitude[last]]],
        lon: [places.longitude, [places.longitude[last]]],
      };
      layout["map.center"] = { lat: places.latitude[last], lon: places.longitude[last] };
    } else {
      const metres = inMetres(places.latitude, places.longitude);
      update = { x: [metres.x, [metres.x[last]]], y: [metres.y, [metres.y[last]]] };
      Object.assign(layout, squareRanges(metres, graph));
    }
    update.text = [titles, [titles[last]]];
    window.Plotly.update(graph, update, layout);
    return count;
  }

  /** Times and places that have both coordinates: readings, or the means of windows. */
  function placesOf(held, sensor) {
    let latitude, longitude;
    if (!held.step) {
      const points = held.points[sensor];
      latitude = points ? points.of("latitude") : { x: [], y: [] };
      longitude = points ? points.of("longitude") : { x: [], y: [] };
    } else {
      const windows = held.windows[sensor] || {};
      latitude = windows.latitude ? { x: windows.latitude.x, y: windows.latitude.mean } : { x: [], y: [] };
      longitude = windows.longitude ? { x: windows.longitude.x, y: windows.longitude.mean } : { x: [], y: [] };
    }
    const byTime = new Map(longitude.x.map((time, place) => [time, longitude.y[place]]));
    const places = { times: [], latitude: [], longitude: [] };
    latitude.x.forEach((time, place) => {
      if (!byTime.has(time)) return;
      places.times.push(time);
      places.latitude.push(latitude.y[place]);
      places.longitude.push(byTime.get(time));
    });
    return places;
  }

  /** Ranges with one scale on both axes that hold the whole way and are at least 20 m high. */
  function squareRanges(metres, graph) {
    const size = graph._fullLayout._size;
    const span = (values) => [Math.min(...values), Math.max(...values)];
    const [west, east] = span(metres.x);
    const [south, north] = span(metres.y);
    const perPixel = Math.max((east - west) / size.w, (north - south) / size.h, 20 / size.h) * 1.15;
    const around = (low, high, pixels) => [(low + high - perPixel * pixels) / 2, (low + high + perPixel * pixels) / 2];
    return { "xaxis.range": around(west, east, size.w), "yaxis.range": around(south, north, size.h) };
  }

  function colors(...axes) {
    const { font, grid, hover, border } = theme();
    const layout = { "font.color": font, "hoverlabel.bgcolor": hover, "hoverlabel.bordercolor": border, "hoverlabel.font.color": font };
    for (const axis of axes) layout[`${axis}.gridcolor`] = grid;
    return layout;
  }

  /** True when Dash has put an empty figure where the last drawing was. */
  function wasReset(card) {
    const graph = card.querySelector("[data-chart] .js-plotly-plot");
    return Boolean(graph && graph.data && drawn.has(graph) && graph.data[0].x && graph.data[0].x !== drawn.get(graph) && !graph.data[0].x.length && drawn.get(graph).length);
  }

  window.cards = { all, draw, isInSight, wasReset };
})();
