// Curves over time, one lane a quantity: chips choose the group, values at the cursor stand beside.
import uPlot from "./vendor/uplot/uPlot.iife.min.js";
import { channelOf, envelope, normOf, sampleAt } from "./signals.js";
import { add } from "./elements.js";

export const COLOURS = ["#4c78a8", "#f58518", "#54a24b", "#e45756", "#72b7b2", "#b279a2", "#9d755d", "#d4a900", "#ff9da6"];
const LEFT = 78;
const RIGHT = 156;

/** Groups of curves a lane can show: [{name, unit, curves: [{label, stream, values}]}]. */
export function forceGroups(streams) {
  const wrenches = Object.values(streams).filter((stream) => stream.name.startsWith("wrench."));
  const place = (stream) => stream.name.split(".")[1].replace("_", " ");
  const norms = (channels) =>
    wrenches
      .filter((stream) => stream.channels.length >= Math.max(...channels) + 1)
      .map((stream) => ({ label: place(stream), stream, values: () => normOf(stream, channels) }));
  const parts = (stream, channels) =>
    channels
      .filter((channel) => channel < stream.channels.length)
      .map((channel) => ({ label: stream.channels[channel], stream, values: () => channelOf(stream, channel) }));
  const lanes = [["|F|", "force", [0, 1, 2]], ["|τ|", "torque", [3, 4, 5]]].map(([name, title, channels]) => [
    { name, title, unit: wrenches[0]?.units[channels[0]] || "", curves: norms(channels), fromZero: true },
    ...wrenches.map((stream) => ({
      name: place(stream),
      title: `${title}, ${place(stream)}`,
      unit: stream.units[channels[0]] || "",
      curves: parts(stream, channels),
    })),
  ]);
  return lanes.map((groups) => groups.filter((group) => group.curves.length));
}

export function jointGroups(streams) {
  const groups = [];
  const commanded = streams.joint_command;
  for (const stream of Object.values(streams)) {
    if (!stream.groups) continue;
    for (const group of stream.groups) {
      const name = stream.name.startsWith("gripper.") ? stream.name.replace(/[._]/g, " ") : group.name;
      const names = group.channels.map((channel) => stream.channels[channel]);
      groups.push({
        name,
        title: stream.name === "state" ? `state, ${name}` : name,
        unit: [...new Set(group.channels.map((channel) => stream.units[channel]))].join(", "),
        curves: group.channels.map((channel) => curveOf(stream, channel)),
        commands: stream.name === "joint_position" && commanded ? commandsFor(commanded, names) : [],
        travel: Math.max(0, ...group.channels.map((channel) => stream.scale[channel])),
      });
    }
  }
  return groups;
}

function curveOf(stream, channel) {
  return { label: shortName(stream.channels[channel]), stream, values: () => channelOf(stream, channel) };
}

/** Commands in the order of the joints measured, so that both have one colour; null where none was sent. */
function commandsFor(stream, names) {
  return names.map((name) => {
    const channel = stream.channels.indexOf(name);
    return channel < 0 ? null : { ...curveOf(stream, channel), dashed: true };
  });
}

function shortName(channel) {
  return channel.replace(/_joint$/, "").replace(/^(left|right)_/, "").replace(/_/g, " ");
}

export class Lane {
  /** `axis` carries the view [from, to] in ms, `onSeek`, and `onZoom`; `chosen` is the first group shown. */
  constructor(box, groups, axis, { height, chosen = 0, labelled = false, quantity }) {
    Object.assign(this, { axis, height, labelled, groups });
    this.box = add(box, "div", "lane");
    this.box.dataset.quantity = quantity;
    this.head = add(this.box, "div", "lane-head");
    this.title = add(this.head, "b");
    this.chips = groups.map((group, k) => {
      const chip = add(this.head, "button", "chip", group.name);
      chip.onclick = () => this.choose(k);
      return chip;
    });
    if (groups.length < 2) for (const chip of this.chips) chip.hidden = true;
    this.commanded = false;
    if (groups.some((group) => group.commands?.some(Boolean))) {
      this.toggle = add(this.head, "button", "chip dashed", "command");
      this.toggle.title = "Show commanded positions, dashed";
      this.toggle.onclick = () => {
        this.commanded = !this.commanded;
        this.choose(this.groups.indexOf(this.group));
      };
    }
    this.plot = add(this.box, "div", "plot");
    this.legend = add(this.box, "div", "legend");
    this.choose(chosen);
  }

  choose(k) {
    this.group = this.groups[k];
    this.chips.forEach((chip, at) => chip.setAttribute("aria-pressed", String(at === k)));
    if (this.toggle) {
      this.toggle.setAttribute("aria-pressed", String(this.commanded));
      this.toggle.hidden = !this.group.commands?.some(Boolean);
    }
    this.title.textContent = `${this.group.title}${this.group.unit ? ` (${this.group.unit})` : ""}`;
    this.build();
  }

  get drawn() {
    const { curves, commands = [] } = this.group;
    return this.commanded ? [...curves, ...commands.filter(Boolean)] : curves;
  }

  build() {
    this.uplot?.destroy();
    this.plot.replaceChildren();
    this.legend.replaceChildren();
    const { curves, commands = [] } = this.group;
    this.readings = curves.map((curve, k) => {
      const row = add(this.legend, "div", "reading");
      add(row, "i").style.background = COLOURS[k % COLOURS.length];
      add(row, "span", "", curve.label).title = curve.label;
      return add(row, "output");
    });
    const style = getComputedStyle(this.plot);
    const ink = style.color;
    this.uplot = new uPlot(
      {
        width: this.width(),
        height: this.height,
        padding: [20, 0, 0, 0], // the title and its chips stand above the curves
        legend: { show: false },
        cursor: { show: false },
        scales: {
          x: { time: false, range: () => this.axis.view.map((ms) => ms / 1000) },
          y: { range: (_, low, high) => padded(this.group.fromZero ? Math.min(0, low) : low, high) },
        },
        axes: [
          { show: this.labelled, stroke: ink, size: 22, grid: { stroke: "#8883", width: 1 }, ticks: { stroke: "#8885", size: 4 }, values: (_, ticks) => ticks.map((s) => `${+s.toFixed(3)} s`) },
          { stroke: ink, size: LEFT, gap: 4, space: 22, grid: { stroke: "#8883", width: 1 }, ticks: { show: false } },
        ],
        series: [
          {},
          ...this.drawn.map((curve) => {
            const k = Math.max(curves.indexOf(curve), commands.indexOf(curve));
            return { stroke: COLOURS[k % COLOURS.length], width: 1.25, dash: curve.dashed ? [5, 4] : undefined, points: { show: false } };
          }),
        ],
      },
      this.data(),
      this.plot,
    );
    const over = this.uplot.over;
    this.cursor = add(over, "div", "cursor");
    this.axis.listen(over);
    this.move(this.axis.t);
  }

  width() {
    return Math.max(240, this.box.parentElement.clientWidth - RIGHT);
  }

  data() {
    const [from, to] = this.axis.view;
    const columns = Math.round((this.width() - LEFT) * Math.min(2, devicePixelRatio));
    const clocks = new Map();
    for (const curve of this.drawn) {
      if (!clocks.has(curve.stream.time)) clocks.set(curve.stream.time, []);
      clocks.get(curve.stream.time).push(curve);
    }
    // curves on one clock share their x; curves on others are joined with gaps spanned
    const parts = [...clocks].map(([time, curves]) =>
      envelope(time, curves[0].stream.gaps, curves.map((curve) => curve.values()), from, to, columns),
    );
    if (parts.length === 1) return parts[0];
    const joined = uPlot.join(parts, parts.map((part) => part.map(() => 2)));
    const order = [...clocks.values()].flat();
    return [joined[0], ...this.drawn.map((curve) => joined[1 + order.indexOf(curve)])];
  }

  redraw() {
    this.uplot.setData(this.data());
    this.move(this.axis.t);
  }

  resize() {
    this.uplot.setSize({ width: this.width(), height: this.height });
    this.redraw();
  }

  /** Put the cursor at a moment (ms) and show each curve's last sample at or before it. */
  move(moment) {
    const [from, to] = this.axis.view;
    const share = (moment - from) / (to - from);
    this.cursor.style.transform = `translateX(${share * this.uplot.over.clientWidth}px)`;
    this.cursor.hidden = share < 0 || share > 1;
    this.group.curves.forEach((curve, k) => {
      const i = sampleAt(curve.stream.time, moment);
      const value = i < 0 ? NaN : curve.values()[i];
      this.readings[k].textContent = Number.isNaN(value) ? "–" : value.toFixed(Math.abs(value) < 10 ? 3 : 1);
      this.readings[k].dataset.sample = i;
    });
  }

  destroy() {
    this.uplot.destroy();
  }
}

function padded(low, high) {
  if (low === null || high === null || !Number.isFinite(low)) return [0, 1];
  const span = high - low || Math.max(Math.abs(high), 1) * 0.1;
  return [low - span * 0.06, high + span * 0.06];
}
