// What the reviewer says: outcome, verdict, phases; saved as labels of their own, never over others'.
import { add } from "./elements.js";

export class Review {
  constructor(box, player) {
    Object.assign(this, { box, player, waiting: null, message: "" });
    this.reset(player.data);
    this.draft = this.readDraft();
    if (!this.draft) return;
    Object.assign(this, { outcome: this.draft.outcome, verdict: this.draft.verdict, dirty: new Set(this.draft.dirty) });
    if (JSON.stringify(this.draft.base) !== JSON.stringify(player.data.base))
      this.message = "You saved something else since you began this edit; Save puts it on top.";
  }

  reset(data) {
    this.outcome = data.outcome.value;
    this.verdict = data.verdict.value;
    this.dirty = new Set();
  }

  get key() {
    const { episode, reviewer } = this.player.data;
    return `demos-draft:${reviewer}:${episode}`;
  }

  readDraft() {
    try {
      return JSON.parse(localStorage.getItem(this.key));
    } catch {
      return null; // a browser without storage, or a draft cut short: nothing to restore
    }
  }

  keepDraft() {
    const { outcome, verdict } = this;
    const { base } = this.player.data;
    const draft = { outcome, verdict, phases: this.player.edit.spans, dirty: [...this.dirty], base };
    try {
      if (this.dirty.size) localStorage.setItem(this.key, JSON.stringify(draft));
      else localStorage.removeItem(this.key);
    } catch {
      this.message = "This browser keeps no drafts: save before you leave.";
    }
  }

  /** The phases were edited. */
  changed() {
    this.dirty.add("phases");
    this.message = "";
    this.keepDraft();
    this.render();
  }

  choose(kind, value) {
    this[kind] = value;
    this.dirty.add(kind);
    this.message = "";
    this.keepDraft();
    this.render();
  }

  chooseOutcome(at) {
    const value = Object.keys(this.player.data.outcomes)[at];
    if (value) this.choose("outcome", value);
  }

  save() {
    const { data, edit } = this.player;
    if (!this.dirty.size) return;
    if (!data.reviewer) {
      this.message = "Write your name under “Reviewer” first: a label belongs to somebody.";
      this.render();
      return;
    }
    this.waiting = `${Date.now()}-${Math.random()}`;
    this.message = "Saving…";
    this.render();
    this.player.trigger("save", {
      request: this.waiting,
      episode: data.episode,
      base: data.base,
      phases: this.dirty.has("phases") ? edit.spans : null,
      outcome: this.dirty.has("outcome") ? this.outcome : null,
      verdict: this.dirty.has("verdict") ? this.verdict : null,
    });
  }

  /** Take the server's answer; say whether the phases shown must be those of the server. */
  take(data) {
    const answered = this.waiting !== null && data.answer?.request === this.waiting;
    if (!answered) {
      if (this.dirty.size) return false;
      this.reset(data);
      return true;
    }
    this.waiting = null;
    if (data.answer.problem) {
      this.message = data.answer.problem;
      this.keepDraft();
      return false;
    }
    this.message = "Saved.";
    this.reset(data);
    this.keepDraft();
    return true;
  }

  render() {
    const { box } = this;
    const { data, edit } = this.player;
    box.replaceChildren();
    this.choices("Outcome", "outcome", data.outcomes, data.outcome);
    for (const opinion of data.opinions) {
      const line = add(box, "div", `opinion ${opinion.machine ? "machine" : ""}`);
      add(line, "span", `badge ${opinion.value}`, opinion.value);
      add(line, "span", "by", opinion.by).title = opinion.by;
    }
    this.choices("Verdict", "verdict", data.verdicts, data.verdict);
    if (data.verdict.reason) add(box, "div", "reason", data.verdict.reason).title = data.verdict.reason;
    const picked = edit?.selected;
    const help = picked
      ? `${picked.tier.replace("_", " ")}: ${picked.value}, ${(picked.start / 1000).toFixed(2)}–${(picked.end / 1000).toFixed(2)} s. S splits, drag an edge, or name it:`
      : data.phases.length
        ? "Click a phase to correct it."
        : "";
    if (help) add(box, "div", "hint", help);
    if (picked) this.words(picked);
    const foot = add(box, "div", "foot");
    const save = add(foot, "button", "save", "Save ⏎");
    save.disabled = !this.dirty.size || this.waiting !== null;
    save.onclick = () => this.save();
    const state = add(foot, "span", this.dirty.size ? "unsaved" : "", this.message || (this.dirty.size ? `unsaved: ${[...this.dirty].join(", ")}` : ""));
    state.setAttribute("role", "status");
  }

  choices(title, kind, values, held) {
    const line = add(this.box, "div", "choices");
    line.dataset.kind = kind;
    add(line, "b", "", title);
    for (const [value, meaning] of Object.entries(values)) {
      const button = add(line, "button", value, value);
      button.title = meaning;
      button.setAttribute("aria-pressed", String(this[kind] === value));
      button.onclick = () => this.choose(kind, value);
    }
    const by = this.dirty.has(kind) ? "you, not saved" : held.value ? held.by : "nobody yet";
    add(line, "span", "by", by).title = by;
  }

  words(picked) {
    const line = add(this.box, "div", "words-of-tier");
    (this.player.data.tiers[picked.tier] || []).forEach((word, k) => {
      const button = add(line, "button", "chip", k < 9 ? `${k + 1} ${word}` : word);
      button.setAttribute("aria-pressed", String(word === picked.value));
      button.onclick = () => this.player.edit.rename(word);
    });
  }
}
