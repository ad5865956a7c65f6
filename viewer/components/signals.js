// Packed signals of one episode (layout: demos/server/signals.py), kept across reruns of the page.

const KEPT = 6;
const packs = new Map();

/** Fetch and decode a pack once; a failed one is asked for again the next time. */
export function loadSignals(url) {
  if (!packs.has(url)) {
    if (packs.size >= KEPT) packs.delete(packs.keys().next().value);
    const pack = fetchSignals(url);
    pack.catch(() => packs.delete(url));
    packs.set(url, pack);
  }
  return packs.get(url);
}

async function fetchSignals(url) {
  const answer = await fetch(url);
  if (!answer.ok) throw new Error((await answer.text()).slice(0, 200) || `status ${answer.status}`);
  return decodeSignals(await answer.arrayBuffer());
}

export function decodeSignals(buffer) {
  const magic = new TextDecoder().decode(new Uint8Array(buffer, 0, 8));
  if (magic !== "DEMOSIG1") throw new Error("the server sent something that is not signals");
  const length = new DataView(buffer).getUint32(8, true);
  const header = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, 12, length)));
  const base = 12 + length + ((8 - ((12 + length) % 8)) % 8);
  const clocks = header.clocks.map((clock) => decodeClock(buffer, base, clock));
  const streams = {};
  for (const [name, stream] of Object.entries(header.streams)) {
    const time = clocks[stream.clock];
    streams[name] = {
      ...stream,
      name,
      time,
      gaps: gapsOf(time),
      counts: new Int16Array(buffer, base + stream.at, time.length * stream.channels.length),
      drawn: new Map(),
    };
  }
  const cameras = {};
  for (const [name, camera] of Object.entries(header.cameras)) {
    const time = clocks[camera.clock];
    const media = camera.media_at === null ? null : new Float64Array(buffer, base + camera.media_at, time.length);
    cameras[name] = { time, media, start: camera.media_start ?? 0 };
  }
  return { streams, cameras, problems: header.problems, start: header.start_ms, end: header.end_ms };
}

function decodeClock(buffer, base, clock) {
  if (clock.encoding === "ms_f64") return new Float64Array(buffer, base + clock.at, clock.count);
  const time = new Float64Array(clock.count);
  if (!clock.count) return time;
  const steps = new Uint32Array(buffer, base + clock.at, clock.count - 1);
  let now = clock.first_ns; // whole nanoseconds are exact in a double for 104 days
  time[0] = now / 1e6;
  for (let i = 0; i < steps.length; i++) time[i + 1] = (now += steps[i]) / 1e6;
  return time;
}

function gapsOf(time) {
  if (time.length < 3) return [];
  const steps = Float64Array.from({ length: time.length - 1 }, (_, i) => time[i + 1] - time[i]);
  const usual = Float64Array.from(steps).sort()[steps.length >> 1];
  const gaps = [];
  for (let i = 0; i < steps.length; i++) if (steps[i] > Math.max(5 * usual, 20)) gaps.push(i + 1);
  return gaps;
}

/** One channel in its unit; NaN where nothing finite was recorded. */
export function channelOf(stream, channel) {
  if (!stream.drawn.has(channel)) {
    const n = stream.time.length;
    const out = new Float32Array(n);
    const { low, scale, counts } = stream;
    for (let i = 0, at = channel * n; i < n; i++, at++)
      out[i] = counts[at] === -32768 ? NaN : (counts[at] + 32767) * scale[channel] + low[channel];
    stream.drawn.set(channel, out);
  }
  return stream.drawn.get(channel);
}

/** Euclidean norm of some channels, such as |F| of a wrench. */
export function normOf(stream, channels) {
  const key = channels.join();
  if (!stream.drawn.has(key)) {
    const parts = channels.map((channel) => channelOf(stream, channel));
    const out = new Float32Array(stream.time.length);
    for (let i = 0; i < out.length; i++) {
      let sum = 0;
      for (const part of parts) sum += part[i] * part[i];
      out[i] = Math.sqrt(sum);
    }
    stream.drawn.set(key, out);
  }
  return stream.drawn.get(key);
}

/** Index of the last sample at or before a moment; -1 before the first. */
export function sampleAt(time, moment) {
  let low = 0;
  let high = time.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (time[middle] <= moment) low = middle + 1;
    else high = middle;
  }
  return low - 1;
}

/**
 * Reduce series on one clock to about two points a pixel column: least and greatest value of each,
 * so that no peak is lost. A gap in the recording stays a gap. Returns uPlot's [x, ...y] in seconds.
 */
export function envelope(time, gaps, series, from, to, columns) {
  const first = Math.max(0, sampleAt(time, from));
  const last = Math.min(time.length, sampleAt(time, to) + 2);
  const inside = gaps.filter((gap) => gap > first && gap < last);
  const x = [];
  const ys = series.map(() => []);
  let begin = first;
  for (const end of [...inside, last]) {
    const share = Math.max(1, Math.round((columns * (end - begin)) / Math.max(1, last - first)));
    reduce(time, series, begin, end, share, x, ys);
    if (end !== last) {
      x.push((time[end - 1] + time[end]) / 2000);
      for (const y of ys) y.push(null);
    }
    begin = end;
  }
  return [x, ...ys];
}

function reduce(time, series, begin, end, columns, x, ys) {
  const count = end - begin;
  if (count <= columns * 2) {
    for (let i = begin; i < end; i++) x.push(time[i] / 1000);
    series.forEach((values, k) => {
      for (let i = begin; i < end; i++) ys[k].push(Number.isNaN(values[i]) ? null : values[i]);
    });
    return;
  }
  for (let b = 0; b < columns; b++) {
    const from = begin + Math.floor((b * count) / columns);
    const to = begin + Math.floor(((b + 1) * count) / columns);
    x.push(time[from] / 1000, time[(from + to) >> 1] / 1000);
    series.forEach((values, k) => {
      let [least, greatest, leastAt, greatestAt] = [Infinity, -Infinity, from, from];
      for (let i = from; i < to; i++) {
        const value = values[i];
        if (value < least) [least, leastAt] = [value, i];
        if (value > greatest) [greatest, greatestAt] = [value, i];
      }
      if (least === Infinity) ys[k].push(null, null);
      else if (leastAt <= greatestAt) ys[k].push(least, greatest);
      else ys[k].push(greatest, least);
    });
  }
}
