// Readings of one session as the page holds them, and how they become lines. Nothing here touches the page.
(function () {
  "use strict";

  const LEAST_GAP_MS = 100; // shorter pauses are the phone's own unevenness
  const PRECISE = new Set(["latitude", "longitude"]);

  /** Points of one sensor at full rate: `times` in ms, ascending; `channels[name]` beside them, null where absent. */
  class Points {
    constructor() {
      this.times = [];
      this.channels = {};
    }

    /** Add columns with times relative to `base`; late ones find their place. */
    add(columns, base) {
      const before = this.times.length;
      const newest = before ? this.times[before - 1] : -Infinity;
      let inOrder = true;
      let last = newest;
      for (const t of columns.t) {
        const time = base + t;
        if (time < last) inOrder = false;
        last = time;
        this.times.push(time);
      }
      for (const name of Object.keys(columns.c)) {
        if (!this.channels[name]) this.channels[name] = new Array(before).fill(null);
        for (const value of columns.c[name]) this.channels[name].push(value);
      }
      for (const values of Object.values(this.channels)) {
        while (values.length < this.times.length) values.push(null);
      }
      if (!inOrder) this.sort();
    }

    sort() {
      const order = this.times.map((_, place) => place).sort((a, b) => this.times[a] - this.times[b] || a - b);
      this.times = order.map((place) => this.times[place]);
      for (const name of Object.keys(this.channels)) {
        const values = this.channels[name];
        this.channels[name] = order.map((place) => values[place]);
      }
    }

    /** Forget what is older than `from`. */
    trim(from) {
      const count = firstAtOrAfter(this.times, from);
      if (!count) return;
      this.times.splice(0, count);
      for (const values of Object.values(this.channels)) values.splice(0, count);
    }

    /** The channel's own points as {x, y}, without its nulls. */
    of(name) {
      const x = [];
      const y = [];
      const values = this.channels[name] || [];
      for (let place = 0; place < values.length; place += 1) {
        if (values[place] !== null) {
          x.push(this.times[place]);
          y.push(values[place]);
        }
      }
      return { x, y };
    }
  }

  /** Windows of one channel: columns in the order of their starts (ms). A window that comes again replaces itself. */
  class Windows {
    constructor() {
      this.x = [];
      this.mean = [];
      this.min = [];
      this.max = [];
    }

    add(rows, base) {
      for (const [start, mean, min, max] of rows) this.put(base + start, mean, min, max);
    }

    put(start, mean, min, max) {
      const place = firstAtOrAfter(this.x, start);
      const replaced = this.x[place] === start ? 1 : 0;
      this.x.splice(place, replaced, start);
      this.mean.splice(place, replaced, mean);
      this.min.splice(place, replaced, min);
      this.max.splice(place, replaced, max);
    }

    trim(from) {
      const count = firstAtOrAfter(this.x, from);
      if (count) for (const column of [this.x, this.mean, this.min, this.max]) column.splice(0, count);
    }
  }

  /** Newest texts of a sensor: of equal values of a channel in a row only the first stays, unless they are events. */
  class Texts {
    constructor(most, areEvents) {
      this.most = most;
      this.areEvents = areEvents;
      this.rows = [];
      this.before = {}; // each channel's value before the rows that are kept
      this.newest = {}; // and after them
    }

    add(rows) {
      const known = new Set(this.rows.map((row) => JSON.stringify(row)));
      this.rows = this.rows.concat(rows.filter((row) => !known.has(JSON.stringify(row)))).sort((a, b) => a[0] - b[0]);
      const last = { ...this.before };
      this.rows = this.rows.filter(([, channel, value]) => {
        const isChange = this.areEvents || last[channel] !== value;
        last[channel] = value;
        return isChange;
      });
      this.newest = last;
      for (const [, channel, value] of this.rows.splice(0, Math.max(0, this.rows.length - this.most))) {
        this.before[channel] = value;
      }
    }
  }

  /** Index of the first of ascending `times` that is not before `time`; fast where that is near the end or start. */
  function firstAtOrAfter(times, time) {
    let low = 0;
    let high = times.length;
    if (high && times[high - 1] < time) return high;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (times[middle] < time) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  /** The usual distance (ms) of neighbouring points: the median of up to 200 of them. */
  function usualDistance(x) {
    const distances = [];
    const stride = Math.max(1, Math.floor(x.length / 200));
    for (let place = 1; place < x.length; place += stride) distances.push(x[place] - x[place - 1]);
    distances.sort((a, b) => a - b);
    return distances.length ? distances[distances.length >> 1] : 0;
  }

  /** From which distance on (ms) two neighbouring readings have something missing between them. */
  function gapOfReadings(x) {
    return Math.max(LEAST_GAP_MS, usualDistance(x) * 6);
  }

  /** The same for windows of `step` s: one that is missing shows, unless the sensor is too slow to fill each. */
  function gapOfWindows(x, step, hz) {
    return hz * step >= 2 ? 1500 * step : Math.max(2500 * step, usualDistance(x) * 3.5);
  }

  /** Lines {x, y} with a null where data is missing; `shift` is added to every time. */
  function withGaps(x, y, gap, shift) {
    const line = { x: [], y: [] };
    for (let place = 0; place < x.length; place += 1) {
      if (place && x[place] - x[place - 1] > gap) {
        line.x.push(x[place - 1] + shift + 1);
        line.y.push(null);
      }
      line.x.push(x[place] + shift);
      line.y.push(y[place]);
    }
    return line;
  }

  /** A line with at most two points per `width` ms: the lowest and the highest, so that no peak is lost to the eye. */
  function thinned(line, width) {
    const thin = { x: [], y: [] };
    const put = (place) => {
      thin.x.push(line.x[place]);
      thin.y.push(line.y[place]);
    };
    let column = null;
    let low = -1;
    let high = -1;
    const flush = () => {
      if (low >= 0) put(Math.min(low, high));
      if (high !== low) put(Math.max(low, high));
      low = high = -1;
    };
    for (let place = 0; place < line.x.length; place += 1) {
      const next = Math.floor(line.x[place] / width);
      if (next !== column || line.y[place] === null) flush();
      column = next;
      if (line.y[place] === null) {
        put(place);
        continue;
      }
      if (low < 0 || line.y[place] < line.y[low]) low = place;
      if (high < 0 || line.y[place] > line.y[high]) high = place;
    }
    flush();
    return thin;
  }

  /** The outline of the min-max band: for each stretch without a gap along the maxima and back along the minima. */
  function band(windows, gap, shift) {
    const outline = { x: [], y: [] };
    const close = (from, until) => {
      if (outline.x.length) {
        outline.x.push(null);
        outline.y.push(null);
      }
      for (let place = from; place < until; place += 1) {
        outline.x.push(windows.x[place] + shift);
        outline.y.push(windows.max[place]);
      }
      for (let place = until - 1; place >= from; place -= 1) {
        outline.x.push(windows.x[place] + shift);
        outline.y.push(windows.min[place]);
      }
    };
    let from = 0;
    for (let place = 1; place <= windows.x.length; place += 1) {
      if (place === windows.x.length || windows.x[place] - windows.x[place - 1] > gap) {
        close(from, place);
        from = place;
      }
    }
    return outline;
  }

  /** A way as metres east and north of its newest place (equirectangular: right to 0.1 % within 100 km). */
  function inMetres(latitudes, longitudes) {
    const last = latitudes.length - 1;
    const perDegree = 111320;
    const narrowing = Math.cos((latitudes[last] * Math.PI) / 180);
    const from = (values, scale) => values.map((value) => (value === null ? null : (value - values[last]) * scale));
    return { x: from(longitudes, perDegree * narrowing), y: from(latitudes, perDegree) };
  }

  /** A value in figures: always as many digits as can be read while it moves. */
  function figure(channel, value) {
    if (value === undefined || value === null) return "–";
    const size = Math.abs(value);
    let text;
    if (PRECISE.has(channel)) text = value.toFixed(5);
    else if (Number.isInteger(value) && size < 1e9) text = String(value);
    else if (size >= 1e6 || (size < 1e-4 && size > 0)) text = value.toExponential(2);
    else text = value.toFixed(size >= 1e5 ? 0 : size >= 100 ? 1 : size >= 1 ? 2 : 3);
    return text.replace("-", "−");
  }

  /** Readings per second in words. */
  function rate(hz) {
    if (!hz) return "";
    if (hz >= 0.95) return `${hz >= 9.5 ? Math.round(hz) : hz.toFixed(1)} Hz`;
    return `every ${duration(1000 / hz)}`;
  }

  /** A length of time in ms in words, as short as possible. */
  function duration(ms) {
    const s = Math.max(0, ms / 1000);
    if (s < 9.95) return `${s.toFixed(1)} s`;
    if (s < 90) return `${Math.round(s)} s`;
    if (s < 5400) return `${Math.round(s / 60)} min`;
    if (s < 172800) return `${Math.round(s / 3600)} h`;
    return `${Math.round(s / 86400)} days`;
  }

  window.readings = { Points, Windows, Texts, gapOfReadings, gapOfWindows, withGaps, thinned, band, inMetres, figure, rate, duration };
})();
