// One cursor for everything: the image shown sets the time while a film plays, a request sets it otherwise.
import { sampleAt } from "./signals.js";

/** One camera's video: finds the image of a moment by its recorded stamp, never by a rate. */
export class Film {
  constructor(video, camera) {
    this.video = video;
    this.name = camera.name;
    this.usable = true;
    this.shown = -1;
    this.first = null; // where the browser puts the file's first image on its own time line
    this.settled = false;
    const rate = camera.rate_hz || 30;
    this.setStamps(Float64Array.from({ length: camera.images }, (_, i) => camera.start_ms + (i * 1000) / rate));
    this.nominal = true;
  }

  /** Stamps of the images (ms), their moments in the file and that of the file's first image (s). */
  setStamps(time, media = null, start = 0) {
    this.time = time;
    this.media = media || Float64Array.from(time, (moment) => (moment - time[0]) / 1000);
    this.start = start;
    this.nominal = false;
  }

  get shift() {
    return (this.first ?? 0) - this.start;
  }

  imageAt(moment) {
    return Math.max(0, sampleAt(this.time, moment));
  }

  /** Middle of an image's stay on the browser's time line: safe from rounding at either end. */
  mediaTime(image) {
    const { media } = this;
    const last = media.length - 1;
    const stay = image < last ? media[image + 1] - media[image] : last ? media[last] - media[last - 1] : 0.03;
    return media[image] + stay / 2 + this.shift;
  }

  /** Which image the browser says it shows, by its own begin or (`within`) a moment of its stay. */
  noteShown(mediaTime, within = false) {
    if (!this.settled && this.video.currentTime < 1e-3) this.first = mediaTime;
    const at = mediaTime - this.shift;
    let i = Math.max(0, sampleAt(this.media, at));
    if (!within && i + 1 < this.media.length && this.media[i + 1] - at < at - this.media[i]) i += 1;
    this.shown = i;
    return i;
  }
}

/** Keeps the moment `t` (ms), the films and the playback together; calls `onMove` when `t` changes. */
export class Clock {
  constructor(films, range, onMove, onState) {
    Object.assign(this, { films, range, onMove, onState });
    this.t = range[0];
    this.speed = 1;
    this.direction = 0; // -1 backwards, 0 paused, 1 forwards
    this.wanted = null;
    this.busy = false;
    this.dead = false;
    this.lastTick = 0;
    for (const film of films) this.watch(film);
  }

  get master() {
    return this.films.find((film) => film.usable && film.time.length) || null;
  }

  watch(film) {
    const { video } = film;
    const settle = () => {
      if (film.settled || this.dead) return;
      film.settled = true;
      this.seek(this.t);
    };
    // no seek before the first image was seen: it tells where the browser's time line begins
    video.addEventListener("loadeddata", () => setTimeout(settle, 400), { once: true });
    const onImage = (_, details) => {
      if (this.dead) return;
      film.noteShown(details.mediaTime);
      settle();
      if (this.filmLeads && film === this.master) {
        this.t = film.time[film.shown];
        this.follow();
      }
      this.onMove();
      video.requestVideoFrameCallback(onImage);
    };
    video.requestVideoFrameCallback?.(onImage);
  }

  /** True while the master film's images set the time. */
  get filmLeads() {
    const master = this.master;
    return this.direction === 1 && master !== null && !master.video.paused && !master.video.ended;
  }

  seek(moment) {
    this.t = Math.min(Math.max(moment, this.range[0]), this.range[1]);
    this.wanted = this.t;
    this.onMove();
    this.pump();
  }

  /** One decoder seek in flight; of those asked for meanwhile only the newest is done. */
  pump() {
    if (this.busy || this.wanted === null || this.dead) return;
    const moment = this.wanted;
    this.wanted = null;
    const moves = [];
    for (const film of this.films) {
      if (!film.usable || !film.time.length || !film.settled) continue;
      const at = film.mediaTime(film.imageAt(moment));
      if (Math.abs(film.video.currentTime - at) < 1e-6 && !film.video.seeking) continue;
      moves.push(
        new Promise((done) => {
          film.video.addEventListener("seeked", done, { once: true });
          setTimeout(done, 1500); // a film that was cut off must not block the others
        }),
      );
      film.video.currentTime = at;
    }
    if (!moves.length) return;
    this.busy = true;
    Promise.all(moves).then(() => {
      this.busy = false;
      // a browser may leave out the callback for an image it shows while paused
      for (const film of this.films) if (film.settled) film.noteShown(film.video.currentTime, true);
      this.onMove();
      this.pump();
    });
  }

  /** Images of the other cameras follow the master's time: by pace when near, by a seek when far. */
  follow() {
    const master = this.master;
    for (const film of this.films) {
      if (film === master || !film.usable || !film.time.length) continue;
      const ahead = film.video.currentTime - film.mediaTime(film.imageAt(this.t));
      if (Math.abs(ahead) > 0.25) film.video.currentTime = film.mediaTime(film.imageAt(this.t));
      else film.video.playbackRate = this.speed * (1 - Math.max(-0.2, Math.min(0.2, ahead * 2)));
    }
  }

  /** Step by images of the master camera; without one, by a thirtieth of a second. */
  step(images) {
    this.pause();
    const master = this.master;
    if (!master) return this.seek(this.t + (images * 1000) / 30);
    const image = master.imageAt(this.t) + images;
    return this.seek(master.time[Math.max(0, Math.min(master.time.length - 1, image))]);
  }

  play(direction = 1) {
    if (this.direction === direction) return;
    this.pause();
    if (direction === 1 && this.t >= this.range[1] - 1) this.seek(this.range[0]);
    this.direction = direction;
    this.lastTick = performance.now();
    this.onState();
    requestAnimationFrame((now) => this.tick(now));
  }

  pause() {
    if (!this.direction) return;
    this.direction = 0;
    for (const film of this.films) film.video.pause();
    this.onState();
    this.seek(this.t);
  }

  setSpeed(speed) {
    this.speed = Math.max(0.125, Math.min(4, speed));
    for (const film of this.films) film.video.playbackRate = this.speed;
    this.onState();
  }

  /** Where no image leads (no video, before the first or after the last image) the wall clock does. */
  tick(now) {
    if (this.dead || !this.direction) return;
    const passed = (now - this.lastTick) * this.speed * this.direction;
    this.lastTick = now;
    if (!this.filmLeads && !this.startFilms()) {
      this.t += passed;
      if (this.t >= this.range[1] || this.t <= this.range[0]) {
        this.t = Math.min(Math.max(this.t, this.range[0]), this.range[1]);
        return this.pause();
      }
      if (this.direction < 0) this.seek(this.t);
      else this.onMove();
    }
    return requestAnimationFrame((next) => this.tick(next));
  }

  /** Start the films when the time is within them; say whether they lead now. */
  startFilms() {
    const master = this.master;
    if (this.direction !== 1 || !master) return false;
    if (this.t < master.time[0] || this.t >= master.time[master.time.length - 1]) return false;
    if (this.busy || this.starting) return true;
    this.starting = true;
    const starts = this.films
      .filter((film) => film.usable && film.time.length)
      .map((film) => {
        film.video.playbackRate = this.speed;
        return film.video.play();
      });
    Promise.allSettled(starts).then(() => {
      this.starting = false;
      if (!this.direction) for (const film of this.films) film.video.pause();
    });
    return true;
  }

  stop() {
    this.dead = true;
    this.direction = 0;
    for (const { video } of this.films) {
      video.pause();
      video.removeAttribute("src");
      video.load();
    }
  }
}
