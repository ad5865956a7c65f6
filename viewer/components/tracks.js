// Labels over time: phases per tier, contacts, slips and grasps; one's own phases can be edited.
import { add } from "./elements.js";

const SHORTEST = 1e-3;

/** The phases under review, with undo. Times in ms; spans of a tier do not overlap. */
export class PhaseEdit {
  constructor(spans, onChange) {
    this.spans = structuredClone(spans);
    this.selected = null;
    this.past = [];
    this.onChange = onChange;
  }

  tier(name) {
    return this.spans.filter((span) => span.tier === name).sort((a, b) => a.start - b.start);
  }

  change(edit) {
    const before = JSON.stringify(this.spans);
    edit();
    if (JSON.stringify(this.spans) === before) return;
    this.past.push(before);
    if (this.past.length > 200) this.past.shift();
    this.onChange();
  }

  undo() {
    const before = this.past.pop();
    if (!before) return;
    const place = this.selected && [this.selected.tier, this.selected.start];
    this.spans = JSON.parse(before);
    this.selected = this.spans.find((span) => place && span.tier === place[0] && span.start === place[1]) || null;
    this.onChange();
  }

  split(moment) {
    const span = this.selected;
    if (!span || moment - span.start < SHORTEST || span.end - moment < SHORTEST) return;
    this.change(() => {
      const rest = { ...span, start: moment, notes: { ...span.notes } };
      span.end = moment;
      this.spans.push(rest);
      this.selected = rest;
    });
  }

  /** Give the selected span's time to the one before it, or after it where it is the first. */
  merge() {
    const span = this.selected;
    if (!span) return;
    const row = this.tier(span.tier);
    const at = row.indexOf(span);
    const heir = row[at - 1] || row[at + 1];
    if (!heir) return;
    this.change(() => {
      heir.start = Math.min(heir.start, span.start);
      heir.end = Math.max(heir.end, span.end);
      this.spans.splice(this.spans.indexOf(span), 1);
      this.selected = heir;
    });
  }

  rename(value) {
    if (this.selected) this.change(() => (this.selected.value = value));
  }

  /** Begin a phase in the empty stretch around a moment, as long as its neighbours leave room. */
  begin(tier, value, moment, range) {
    const row = this.tier(tier);
    if (row.some((span) => span.start <= moment && moment < span.end)) return;
    const start = Math.max(range[0], ...row.filter((span) => span.end <= moment).map((span) => span.end));
    const end = Math.min(range[1], ...row.filter((span) => span.start > moment).map((span) => span.start));
    this.change(() => {
      this.selected = { start, end, tier, value, confidence: null, notes: {} };
      this.spans.push(this.selected);
    });
  }

  /** Move one end of a span; an adjoining neighbour moves along, no other is run over. */
  moveEnd(span, which, moment, remember = true) {
    const row = this.tier(span.tier);
    const at = row.indexOf(span);
    const neighbour = row[which === "start" ? at - 1 : at + 1];
    const joined = neighbour && Math.abs(which === "start" ? neighbour.end - span.start : neighbour.start - span.end) < 1e-6;
    const move = () => {
      if (which === "start") {
        const least = neighbour ? (joined ? neighbour.start + SHORTEST : neighbour.end) : -Infinity;
        span.start = Math.min(span.end - SHORTEST, Math.max(least, moment));
        if (joined) neighbour.end = span.start;
      } else {
        const most = neighbour ? (joined ? neighbour.end - SHORTEST : neighbour.start) : Infinity;
        span.end = Math.max(span.start + SHORTEST, Math.min(most, moment));
        if (joined) neighbour.start = span.end;
      }
    };
    if (remember) this.change(move);
    else move();
  }
}

/** Rows of spans on the shared time axis. */
export class Tracks {
  constructor(box, axis, data, edit, onSelect) {
    Object.assign(this, { box, axis, data, edit, onSelect });
    this.colours = Object.fromEntries(data.vocabulary.map((phase) => [phase.id, phase.color]));
    box.addEventListener("pointerdown", (event) => this.press(event));
    box.addEventListener("pointermove", (event) => this.drag(event));
    box.addEventListener("pointerup", () => this.drop());
    box.addEventListener("dblclick", (event) => this.begin(event));
    this.render();
  }

  render() {
    this.box.replaceChildren();
    this.area = add(this.box, "div", "track-area");
    for (const row of this.data.rows) this.row(row);
    if (!this.data.rows.length) add(this.area, "p", "empty", "No labels yet: neither people nor machines have spoken on this episode.");
    this.cursor = add(add(this.area, "div", "cursor-lane"), "div", "cursor");
    this.area.querySelector(".cursor-lane").hidden = !this.data.rows.length;
    this.place();
  }

  row(row) {
    const line = add(this.area, "div", `track ${row.kind} ${row.machine ? "machine" : ""} ${row.editable ? "editable" : ""}`);
    line.dataset.kind = row.kind;
    line.dataset.tier = row.tier;
    const name = add(line, "span", "track-name", row.title);
    name.title = row.by;
    const strip = add(line, "div", "strip");
    const spans = row.editable ? this.edit.tier(row.tier) : row.spans;
    const fingers = row.kind === "contacts" ? [...new Set(row.spans.map((span) => span.notes.finger || ""))].sort(byPlaceInHand) : [];
    if (fingers.length > 1) line.classList.add("fingers");
    for (const span of spans) {
      const block = this.span(strip, span, row);
      if (fingers.length > 1) {
        block.style.top = `${(100 * fingers.indexOf(span.notes.finger || "")) / fingers.length}%`;
        block.style.height = `${100 / fingers.length}%`;
        block.replaceChildren();
      }
    }
    if (!spans.length) add(strip, "em", "", "double-click to begin a phase");
    const by = fingers.length > 1 ? `${fingers.map((finger) => finger || "hand").join(", ")} · ${row.by}` : row.by;
    add(line, "span", "track-by", by).title = by;
  }

  span(strip, span, row) {
    const block = add(strip, "div", `span ${span.value === row.kind.slice(0, -1) ? "event" : ""}`);
    block.span = span;
    block.row = row;
    block.dataset.value = span.value;
    const colour = row.kind === "phases" ? this.colours[span.value] || "#888" : EVENT_COLOURS[span.value] || "#888";
    block.style.setProperty("--colour", colour);
    const notes = Object.entries(span.notes || {}).map(([key, value]) => `, ${key} ${value}`).join("");
    const word = span.value + (span.notes?.marginal ? " (marginal)" : "");
    add(block, "span", "", row.kind === "contacts" ? span.notes?.finger || "" : word);
    block.title = `${span.value} ${(span.start / 1000).toFixed(3)}–${(span.end / 1000).toFixed(3)} s${notes} · ${row.by}`;
    if (row.editable) {
      block.classList.toggle("selected", span === this.edit.selected);
      for (const which of ["start", "end"]) add(block, "i", `edge ${which}`).dataset.which = which;
    }
    return block;
  }

  place() {
    const [from, to] = this.axis.view;
    for (const block of this.box.querySelectorAll(".span")) {
      const { start, end } = block.span;
      Object.assign(block.dataset, { start, end });
      block.style.left = `${(100 * (start - from)) / (to - from)}%`;
      block.style.width = `${(100 * (end - start)) / (to - from)}%`;
    }
    this.move(this.axis.t);
  }

  move(moment) {
    const [from, to] = this.axis.view;
    const share = (moment - from) / (to - from);
    this.cursor.style.left = `${100 * share}%`;
    this.cursor.hidden = share < 0 || share > 1;
  }

  timeAt(event) {
    const strip = this.box.querySelector(".cursor-lane").getBoundingClientRect();
    const [from, to] = this.axis.view;
    return from + ((event.clientX - strip.left) / strip.width) * (to - from);
  }

  begin(event) {
    const line = event.target.closest(".track");
    const row = line && this.data.rows.find((each) => each.editable && each.tier === line.dataset.tier);
    const word = row && (this.data.tiers[row.tier] || [])[0];
    if (word && event.target.closest(".strip") && !event.target.closest(".span")) this.edit.begin(row.tier, word, this.timeAt(event), this.axis.range);
  }

  press(event) {
    const block = event.target.closest(".span");
    if (!event.target.closest(".strip, .cursor-lane") || event.button) return;
    this.box.setPointerCapture(event.pointerId);
    const edge = event.target.closest(".edge");
    if (edge && block.row.editable) {
      this.held = { span: block.span, which: edge.dataset.which, before: JSON.stringify(this.edit.spans) };
      return;
    }
    if (block?.row.editable) {
      this.edit.selected = block.span;
      this.render();
      this.onSelect();
    }
    this.held = { seek: true };
    this.axis.onSeek(this.timeAt(event));
  }

  drag(event) {
    if (!this.held) return;
    const moment = this.timeAt(event);
    if (this.held.seek) return this.axis.onSeek(moment);
    this.edit.moveEnd(this.held.span, this.held.which, moment, false);
    this.place();
    return this.axis.onSeek(this.held.span[this.held.which]);
  }

  drop() {
    const { held } = this;
    this.held = null;
    if (held?.before && held.before !== JSON.stringify(this.edit.spans)) {
      this.edit.past.push(held.before);
      this.edit.onChange();
    }
  }
}

const HAND = ["thumb", "index", "middle", "ring", "little", "palm"];

function byPlaceInHand(a, b) {
  return (HAND.indexOf(a) + 1 || 99) - (HAND.indexOf(b) + 1 || 99) || a.localeCompare(b);
}

const EVENT_COLOURS = { contact: "#59a14f", slip: "#e15759", held: "#2f8f5b", dropped: "#d6453d", missed: "#c98a00" };
