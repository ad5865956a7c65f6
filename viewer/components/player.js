// One episode on one cursor: cameras, touch, labels, force, joints. Mounted by Streamlit as a component.
import { Clock, Film } from "./clock.js";
import { add, say } from "./elements.js";
import { bindKeys, fillHelp } from "./keys.js";
import { Lane, forceGroups, jointGroups } from "./lanes.js";
import { Review } from "./review.js";
import { loadSignals } from "./signals.js";
import { Hand, touchScale } from "./touch.js";
import { PhaseEdit, Tracks } from "./tracks.js";

const mounted = new WeakMap();

/** Streamlit calls this again with new data after every rerun; the same episode is not mounted twice. */
export default function (component) {
  const { parentElement, data, setTriggerValue } = component;
  const root = parentElement.querySelector(".player");
  const player = mounted.get(root);
  if (player && player.data.episode === data.episode && !player.dead) player.update(data, setTriggerValue);
  else {
    player?.destroy();
    mounted.set(root, new Player(root, data, setTriggerValue));
  }
  return () => mounted.get(root)?.destroy();
}

class Player {
  constructor(root, data, trigger) {
    Object.assign(this, { root, data, trigger, lanes: [], hands: [], dead: false });
    this.closing = new AbortController();
    this.part = (name) => root.querySelector(`.${name}`);
    for (const name of ["cameras", "touch", "review", "tracks", "lanes"]) this.part(name).replaceChildren();
    root.dataset.episode = data.episode;
    root.dataset.ready = "";
    const range = [data.start_ms, Math.max(data.end_ms, data.start_ms + 1)];
    this.axis = {
      range,
      view: [...range],
      t: range[0],
      onSeek: (moment) => this.clock.seek(moment),
      listen: (over) => this.listen(over),
    };
    this.films = data.cameras.map((camera) => this.camera(camera)).filter(Boolean);
    if (!data.cameras.length) say(this.part("cameras"), "No camera was recorded for this episode.");
    this.clock = new Clock(this.films, range, () => this.move(), () => this.showState());
    this.review = new Review(this.part("review"), this);
    this.edit = new PhaseEdit(this.review.draft?.phases || data.phases, () => this.edited());
    this.tracks = new Tracks(this.part("tracks"), this.axis, data, this.edit, () => this.review.render());
    fillHelp(this.part("help"));
    this.buttons();
    bindKeys(this, this.closing.signal);
    this.review.render();
    this.showState();
    if (data.t_ms !== null) this.clock.seek(data.t_ms);
    this.move();
    this.load();
    const observer = new ResizeObserver(() => this.resize());
    observer.observe(root);
    this.closing.signal.addEventListener("abort", () => observer.disconnect());
    window.addEventListener("resize", () => this.resize(), { signal: this.closing.signal });
  }

  camera(camera) {
    const tile = add(this.part("cameras"), "figure", "camera");
    tile.dataset.camera = camera.name;
    const video = add(tile, "video");
    Object.assign(video, { muted: true, preload: "auto", playsInline: true });
    video.style.aspectRatio = `${camera.width} / ${camera.height}`;
    tile.style.setProperty("--ratio", camera.width / camera.height);
    const film = new Film(video, camera);
    film.caption = add(tile, "figcaption", "", camera.name);
    const fail = (why, details = "") => {
      if (this.dead || !film.usable) return;
      film.usable = false;
      video.hidden = true;
      tile.style.setProperty("--ratio", 1);
      film.caption.hidden = true;
      say(tile, `Camera ${camera.name}: ${why} Everything else works without it.`, "alert").title = details;
      this.clock?.onMove();
    };
    if (!camera.images) fail("it recorded no image.");
    else if (camera.mime && video.canPlayType(camera.mime) === "") fail(`this browser cannot play ${camera.codec} video.`);
    else {
      const broken = () => {
        const unknown = video.error?.code === MediaError.MEDIA_ERR_SRC_NOT_SUPPORTED;
        fail(unknown ? `this browser cannot play ${camera.codec} video, or the file is not there.` : "its video broke off.", video.error?.message);
      };
      video.addEventListener("error", broken, { signal: this.closing.signal });
      video.src = camera.url;
    }
    return film;
  }

  async load() {
    try {
      this.signals = await loadSignals(this.data.signals_url);
    } catch (error) {
      if (this.dead) return;
      for (const name of ["touch", "lanes"]) {
        this.part(name).replaceChildren();
        say(this.part(name), `Signals could not be loaded: ${error.message}. Video and labels still work; reload the page to try again.`, "alert");
      }
      this.root.dataset.ready = "without signals";
      return;
    }
    if (this.dead) return;
    for (const film of this.films) {
      const camera = this.signals.cameras[film.name];
      if (camera?.time.length) film.setStamps(camera.time, camera.media, camera.start);
    }
    this.clock.seek(this.clock.t);
    this.buildTouch();
    this.buildLanes();
    this.resize();
    this.move();
    this.root.dataset.ready = "yes";
    if (this.data.next_signals_url) loadSignals(this.data.next_signals_url).catch(() => null);
  }

  buildTouch() {
    const { streams, problems } = this.signals;
    const box = this.part("touch");
    box.replaceChildren();
    const felt = Object.values(streams).filter((stream) => stream.name.startsWith("tactile.") && stream.time.length);
    const scales = new Map(felt.map((stream) => [stream.units[0], touchScale(felt.filter((other) => other.units[0] === stream.units[0]))]));
    this.hands = felt.map((stream) => {
      const title = stream.name.split(".")[1].replace("_", " ");
      return new Hand(add(box, "section", "hand"), title, stream, scales.get(stream.units[0]));
    });
    if (!this.hands.length) say(box, "No touch was recorded.");
    for (const [name, problem] of Object.entries(problems)) say(box, `${name} cannot be read: ${problem}`, "alert");
  }

  buildLanes() {
    const { streams } = this.signals;
    const box = this.part("lanes");
    box.replaceChildren();
    this.lanes = [];
    const joints = jointGroups(streams);
    const [force, torque] = forceGroups(streams);
    if (force.length) this.lanes.push(new Lane(box, force, this.axis, { height: 90, quantity: "force" }));
    if (torque.length) this.lanes.push(new Lane(box, torque, this.axis, { height: 70, quantity: "torque" }));
    if (!force.length && !torque.length) say(box, "No wrist force-torque was recorded.");
    if (joints.length) {
      const arms = joints.filter((group) => group.name.includes("arm"));
      const known = arms.length ? arms : joints;
      const liveliest = known.reduce((a, b) => (b.travel > a.travel ? b : a));
      // without force there is room for both arms
      const shown = this.lanes.length ? [liveliest] : known.slice(0, 2);
      shown.forEach((group, k) => {
        const labelled = k === shown.length - 1;
        this.lanes.push(new Lane(box, joints, this.axis, { height: 120, chosen: joints.indexOf(group), labelled, quantity: "joints" }));
      });
    } else say(box, "No joint positions were recorded.");
    const thinned = Object.values(streams).filter((stream) => stream.thinned);
    if (thinned.length) say(box, `Long episode: ${thinned.map((stream) => stream.name).join(", ")} drawn by least and greatest values; read exact samples with demos.open.`);
  }

  /** Give the lanes what height the window leaves, so that one screen holds everything. */
  resize() {
    if (this.dead || this.resizing) return;
    this.resizing = requestAnimationFrame(() => {
      this.resizing = 0;
      if (this.dead || !this.root.isConnected) return;
      const box = this.part("lanes").getBoundingClientRect();
      const curves = this.lanes.reduce((sum, lane) => sum + lane.box.getBoundingClientRect().height, 0);
      const free = window.innerHeight - box.top - (box.height - curves) - 16;
      const weights = this.lanes.map((lane) => ({ force: 1, torque: 0.75, joints: 1.5 })[lane.box.dataset.quantity]);
      const sum = weights.reduce((a, b) => a + b, 0);
      this.lanes.forEach((lane, k) => {
        lane.height = Math.max(64, Math.min(240, Math.floor((free * weights[k]) / sum) - 1));
        lane.resize();
      });
      this.tracks.place();
    });
  }

  /** Everything that shows the moment, moved together. */
  move() {
    const { t } = this.clock;
    this.axis.t = t;
    for (const lane of this.lanes) lane.move(t);
    for (const hand of this.hands) hand.draw(t);
    this.tracks?.move(t);
    for (const film of this.films) {
      if (!film.usable || !film.time.length) continue;
      const image = film.imageAt(t);
      film.caption.textContent = `${film.name} · image ${image + 1} of ${film.time.length}${film.nominal ? " (nominal times)" : ""}`;
      film.video.dataset.image = image;
      film.video.dataset.shown = film.shown;
    }
    this.part("time").textContent = `${(t / 1000).toFixed(3)} s`;
    this.part("time").dataset.ms = t;
    const words = this.data.rows.length ? this.phasesAt(t) : "";
    if (this.part("now").textContent !== words) this.part("now").textContent = words;
  }

  phasesAt(t) {
    return this.data.rows
      .filter((row) => row.kind === "phases" && !row.machine)
      .map((row) => {
        const spans = row.editable ? this.edit.tier(row.tier) : row.spans;
        const span = spans.find((each) => each.start <= t && t < each.end);
        return span ? `${row.title}: ${span.value}` : "";
      })
      .filter(Boolean)
      .join(" · ");
  }

  showState() {
    const playing = this.clock.direction !== 0;
    const button = this.root.querySelector('[data-do="play"]');
    button.textContent = playing ? "❚❚" : "▶";
    this.part("speed").textContent = `${this.clock.speed}×${this.clock.direction < 0 ? " backwards" : ""}`;
    this.part("position").textContent = this.data.position;
    this.root.dataset.playing = String(playing);
  }

  edited() {
    this.tracks.render();
    this.review.changed();
  }

  buttons() {
    const acts = {
      back: () => this.clock.step(-1),
      play: () => this.toggle(),
      forward: () => this.clock.step(1),
      previous: () => this.go(-1),
      next: () => this.go(1),
      help: () => this.help(),
    };
    for (const button of this.root.querySelectorAll("[data-do]")) button.onclick = acts[button.dataset.do];
  }

  toggle() {
    if (this.clock.direction) this.clock.pause();
    else this.clock.play();
  }

  go(direction) {
    this.trigger("go", direction);
  }

  help() {
    this.part("help").hidden = !this.part("help").hidden;
  }

  /** Pointer on a plot: drag seeks, wheel zooms around the pointer, double click shows everything. */
  listen(over) {
    const { axis } = this;
    const timeAt = (event) => {
      const box = over.getBoundingClientRect();
      return axis.view[0] + ((event.clientX - box.left) / box.width) * (axis.view[1] - axis.view[0]);
    };
    let down = false;
    over.addEventListener("pointerdown", (event) => {
      if (event.button) return;
      down = true;
      over.setPointerCapture(event.pointerId);
      axis.onSeek(timeAt(event));
    });
    over.addEventListener("pointermove", (event) => down && axis.onSeek(timeAt(event)));
    over.addEventListener("pointerup", () => (down = false));
    over.addEventListener("dblclick", () => this.zoom([...axis.range]));
    over.addEventListener(
      "wheel",
      (event) => {
        event.preventDefault();
        const centre = timeAt(event);
        const factor = Math.exp(event.deltaY * 0.002);
        const view = axis.view.map((edge) => centre + (edge - centre) * factor);
        if (view[1] - view[0] >= 20) this.zoom(view);
      },
      { passive: false },
    );
  }

  zoom(view) {
    this.axis.view = [Math.max(view[0], this.axis.range[0]), Math.min(view[1], this.axis.range[1])];
    if (this.zooming) return;
    this.zooming = requestAnimationFrame(() => {
      this.zooming = 0;
      for (const lane of this.lanes) lane.redraw();
      this.tracks.place();
    });
  }

  update(data, trigger) {
    this.trigger = trigger;
    const stale = this.data.signals_url !== data.signals_url;
    const asked = data.t_ms !== null && data.t_ms !== this.data.t_ms;
    this.data = data;
    this.tracks.data = data;
    if (this.review.take(data)) this.edit.spans = structuredClone(data.phases);
    this.edit.selected = this.edit.spans.find((span) => same(span, this.edit.selected)) || null;
    this.tracks.render();
    this.review.render();
    this.showState();
    if (asked) this.clock.seek(data.t_ms);
    // addresses expire and die with the server; what is loaded stays, what failed is tried again
    if (stale && this.root.dataset.ready === "without signals") this.load();
  }

  destroy() {
    if (this.dead) return;
    this.dead = true;
    this.closing.abort();
    this.clock.stop();
    for (const lane of this.lanes) lane.destroy();
  }
}

function same(a, b) {
  return Boolean(b) && a.tier === b.tier && a.start === b.start && a.value === b.value;
}
