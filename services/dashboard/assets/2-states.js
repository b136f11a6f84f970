// Texts over time: a lane per channel, in which each state has a bar as long as it lasted; and pictures.
(function () {
  "use strict";

  const PICTURE = /^(?:data:image\/[a-z]+;base64,)?(?:\/9j\/|iVBORw0KGgo|R0lGOD|UklGR)[A-Za-z0-9+/=\s]*$/;
  const SHORTEST_PICTURE = 60;
  const LEAST_PERCENT = 0.4; // a state shorter than this is still seen

  function isPicture(text) {
    return typeof text === "string" && text.length > SHORTEST_PICTURE && PICTURE.test(text);
  }

  /** The stretches {from, until, value} of a channel within [from, until] of `texts` (see readings.Texts), in order. */
  function stretches(texts, channel, from, until) {
    const found = [];
    let value = texts.before[channel];
    let since = from;
    const close = (end) => {
      if (value !== undefined && end > since) found.push({ from: Math.max(from, since), until: Math.min(until, end), value });
    };
    for (const [time, name, next] of texts.rows) {
      if (name !== channel || time > until) continue;
      if (time > since) {
        close(time);
        since = time;
      }
      value = next;
    }
    close(until);
    return found.filter((stretch) => stretch.until > stretch.from);
  }

  /** A colour for each value, the same for as long as the page is open. */
  const colours = new Map();
  function colourOf(value) {
    if (!colours.has(value)) colours.set(value, colours.size % 8);
    return colours.get(value);
  }

  function lane(channel, parts, view) {
    const row = document.createElement("div");
    row.className = "lane";
    const name = document.createElement("span");
    name.className = "channel";
    name.textContent = channel;
    const bar = document.createElement("div");
    bar.className = "bar";
    const length = view[1] - view[0];
    for (const part of parts) {
      const state = document.createElement("span");
      state.className = `state-bar tint-${colourOf(part.value)}`;
      state.style.left = `${(100 * (part.from - view[0])) / length}%`;
      state.style.width = `${Math.max(LEAST_PERCENT, (100 * (part.until - part.from)) / length)}%`;
      state.textContent = part.value;
      state.title = `${part.value}: ${new Date(part.from).toLocaleTimeString()} to ${new Date(part.until).toLocaleTimeString()}`;
      bar.append(state);
    }
    row.append(name, bar);
    return row;
  }

  /** Draw the lanes of all the card's text channels that are states and not pictures. */
  function draw(holder, texts, view) {
    if (!texts || view[1] <= view[0]) return;
    const channels = holder.dataset.channels.split("\n").filter((channel) => !isPicture(texts.newest[channel]));
    holder.replaceChildren(...channels.map((channel) => lane(channel, stretches(texts, channel, view[0], view[1]), view)));
  }

  /** Show the newest picture of the card's channels, if one is a picture; returns that channel. */
  function drawPicture(holder, texts, sensor, sessionId) {
    const rows = texts ? texts.rows : [];
    const newest = rows.findLast(([, , value]) => isPicture(value));
    holder.hidden = !newest;
    if (!newest) return;
    const [time, channel] = newest;
    const path = `/pictures?${new URLSearchParams({ session: sessionId, sensor, channel, time: time.toFixed(1) })}`;
    let image = holder.querySelector("img");
    if (!image) {
      image = document.createElement("img");
      holder.append(image);
    }
    if (image.dataset.path === path) return;
    image.dataset.path = path;
    image.alt = `Picture of ${new Date(time).toLocaleTimeString()}`;
    image.src = path;
  }

  window.states = { isPicture, stretches, draw, drawPicture };
})();
