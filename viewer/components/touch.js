// Heat maps of the fingers' taxels at one moment: colour is the normal force, a line the shear.
import { add } from "./elements.js";
import { sampleAt } from "./signals.js";

const CELL = 22;
const STOPS = [[68, 1, 84], [59, 82, 139], [33, 145, 140], [94, 201, 98], [253, 231, 37]];

function viridis(share) {
  const place = Math.max(0, Math.min(1, share)) * (STOPS.length - 1);
  const k = Math.min(STOPS.length - 2, Math.floor(place));
  const mixed = STOPS[k].map((from, c) => Math.round(from + (STOPS[k + 1][c] - from) * (place - k)));
  return `rgb(${mixed})`;
}

function roundUp(value) {
  const power = 10 ** Math.floor(Math.log10(Math.max(value, 1e-9)));
  return [1, 2, 5, 10].map((step) => step * power).find((step) => step >= value - 1e-12);
}

/** The scale of sensors of one kind: fixed for the episode and the same for both hands, so that a
 * colour means one force throughout. */
export function touchScale(streams) {
  const channels = (stream) => stream.pads.flatMap((pad) => pad.normal).filter((channel) => channel >= 0);
  const most = streams.flatMap((stream) => channels(stream).map((channel) => highest(stream, channel)));
  return roundUp(Math.max(0.05, ...most));
}

/** One hand's pads. */
export class Hand {
  constructor(box, title, stream, scale) {
    Object.assign(this, { stream, scale });
    const unit = stream.units[0] || "";
    box.replaceChildren();
    const head = add(box, "div", "hand-title");
    add(head, "b", "", title);
    this.total = add(head, "span", "total");
    this.unit = unit;
    const row = add(box, "div", "pads");
    this.pads = stream.pads.map((pad) => {
      const figure = add(row, "figure", "pad");
      const canvas = add(figure, "canvas");
      canvas.width = pad.columns * CELL;
      canvas.height = pad.rows * CELL;
      canvas.setAttribute("role", "img");
      add(figure, "figcaption", "", pad.assumed ? "taxels in order" : pad.name);
      return { ...pad, canvas, context: canvas.getContext("2d") };
    });
    add(box, "div", "scale", `0 – ${this.scale} ${unit} per taxel`).style.setProperty("--ramp", ramp());
  }

  draw(moment) {
    const { stream } = this;
    const i = sampleAt(stream.time, moment);
    let sum = 0;
    for (const pad of this.pads) sum += this.drawPad(pad, i);
    const text = i < 0 ? "not yet recorded" : `${sum.toFixed(1)} ${this.unit}`;
    this.total.textContent = text;
    this.total.dataset.sample = i;
  }

  drawPad(pad, i) {
    const { context, columns } = pad;
    let sum = 0;
    pad.normal.forEach((channel, cell) => {
      const x = (cell % columns) * CELL;
      const y = Math.floor(cell / columns) * CELL;
      const value = this.value(channel, i);
      context.fillStyle = Number.isNaN(value) ? "#7777" : viridis(value / this.scale);
      context.fillRect(x, y, CELL - 1, CELL - 1);
      if (Number.isNaN(value)) return;
      sum += value;
      const u = pad.shear_u ? this.value(pad.shear_u[cell], i) : 0;
      const v = pad.shear_v ? this.value(pad.shear_v[cell], i) : 0;
      const length = Math.hypot(u, v);
      if (!(length > this.scale * 0.02)) return;
      const reach = (Math.min(1, (2 * length) / this.scale) * CELL * 0.48) / length;
      context.strokeStyle = value / this.scale > 0.6 ? "#000" : "#fff";
      context.lineWidth = 1.5;
      context.beginPath();
      context.moveTo(x + CELL / 2, y + CELL / 2);
      context.lineTo(x + CELL / 2 + u * reach, y + CELL / 2 + v * reach);
      context.stroke();
    });
    return sum;
  }

  value(channel, i) {
    if (channel < 0 || i < 0) return NaN;
    const { counts, time, scale, low } = this.stream;
    const count = counts[channel * time.length + i];
    return count === -32768 ? NaN : (count + 32767) * scale[channel] + low[channel];
  }
}

function highest(stream, channel) {
  return stream.low[channel] + stream.scale[channel] * 65534;
}

function ramp() {
  return `linear-gradient(90deg, ${STOPS.map((stop) => `rgb(${stop})`).join()})`;
}
