// Everything by keyboard. Streamlit's own keys (c, r) are left alone.
import { add } from "./elements.js";

const KEYS = [
  ["Space", "play or pause"],
  ["← →", "previous, next image (Shift: ten)"],
  ["J K L", "backwards, pause, forwards"],
  ["− +", "slower, faster"],
  ["N P", "next, previous episode"],
  ["[ ]", "previous, next phase of the tier"],
  ["1 – 9", "name the selected phase"],
  ["S", "split the selected phase at the cursor"],
  ["I O", "start, end the selected phase at the cursor"],
  ["Backspace", "merge the selected phase into its neighbour"],
  ["Shift 1 – 4", "set the outcome"],
  ["Ctrl Z", "undo"],
  ["Enter", "save the review"],
  ["wheel, double click", "zoom, show all"],
  ["?", "this help"],
];

export function fillHelp(box) {
  box.replaceChildren();
  add(box, "b", "", "Keys");
  const list = add(box, "dl");
  for (const [keys, what] of KEYS) {
    add(list, "dt", "", keys);
    add(list, "dd", "", what);
  }
}

export function bindKeys(player, signal) {
  const { clock, edit } = player;
  const plain = {
    Space: () => player.toggle(),
    KeyJ: () => clock.play(-1),
    KeyK: () => clock.pause(),
    KeyL: () => clock.play(1),
    Minus: () => clock.setSpeed(clock.speed / 2),
    Equal: () => clock.setSpeed(clock.speed * 2),
    NumpadSubtract: () => clock.setSpeed(clock.speed / 2),
    NumpadAdd: () => clock.setSpeed(clock.speed * 2),
    KeyN: () => player.go(1),
    KeyP: () => player.go(-1),
    KeyS: () => edit.split(clock.t),
    Backspace: () => edit.merge(),
    KeyI: () => edit.selected && edit.moveEnd(edit.selected, "start", clock.t),
    KeyO: () => edit.selected && edit.moveEnd(edit.selected, "end", clock.t),
    BracketLeft: () => neighbour(player, -1),
    BracketRight: () => neighbour(player, 1),
    Enter: () => player.review.save(),
    Escape: () => (player.part("help").hidden = true),
  };
  const onKey = (event) => {
    const target = event.composedPath()[0];
    if (target instanceof Element && (target.matches("input, textarea, select") || target.isContentEditable)) return;
    if (event.altKey) return;
    const act = action(event);
    if (!act) return;
    event.preventDefault();
    event.stopPropagation();
    act();
  };
  const action = (event) => {
    const digit = Number(/^Digit([1-9])$/.exec(event.code)?.[1]);
    if (event.ctrlKey || event.metaKey) return event.code === "KeyZ" ? () => edit.undo() : null;
    if (event.key === "?") return () => player.help();
    if (event.code === "ArrowLeft") return () => clock.step(event.shiftKey ? -10 : -1);
    if (event.code === "ArrowRight") return () => clock.step(event.shiftKey ? 10 : 1);
    if (digit && event.shiftKey) return () => player.review.chooseOutcome(digit - 1);
    if (digit) return () => edit.selected && edit.rename(wordOf(player, edit.selected.tier, digit) ?? edit.selected.value);
    return plain[event.code] || null;
  };
  document.addEventListener("keydown", onKey, { signal, capture: true });
}

function wordOf(player, tier, digit) {
  return (player.data.tiers[tier] || [])[digit - 1];
}

function neighbour(player, direction) {
  const { edit, clock } = player;
  const tier = edit.selected?.tier || player.data.rows.find((row) => row.editable)?.tier;
  if (!tier) return;
  const row = edit.tier(tier);
  const at = edit.selected ? row.indexOf(edit.selected) + direction : row.findIndex((span) => clock.t < span.end);
  edit.selected = row[Math.max(0, Math.min(row.length - 1, at))] || null;
  player.tracks.render();
  player.review.render();
  if (edit.selected) clock.seek(edit.selected.start);
}
