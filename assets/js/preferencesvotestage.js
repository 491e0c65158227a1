// The stage: pairs are loaded and decoded on hidden layers, so that the next one is there at once. Views: zoom, flicker, difference.
(() => {
  "use strict";
  const at = window.atelier;
  const { t, h } = at;
  const GAP = 8;
  const FLICKER_MS = 400;
  const LARGEST_ZOOM = 16;
  const SMALL = 256; // pictures of fewer pixels are shown with hard edges
  const SLIP = 6; // pixels that a click may move

  const painted = () => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)));

  // A picture that tries again while the server is away.
  function picture(url, label, alive) {
    const image = h("img", { alt: label, draggable: "false", decoding: "sync" });
    const load = async () => {
      for (let pause = 400; alive(); pause = Math.min(2 * pause, 8000)) {
        image.src = url;
        try {
          await image.decode();
          image.toggleAttribute("data-crisp", Math.max(image.naturalWidth, image.naturalHeight) <= SMALL);
          return true;
        } catch {
          if (!alive()) break;
          await new Promise((done) => setTimeout(done, pause));
          image.removeAttribute("src");
        }
      }
      return false;
    };
    return { image, load };
  }

  class VoteLayer {
    constructor(item, address) {
      this.item = item;
      this.dropped = false;
      const tokens = item.kind === "pair" ? [item.left, item.right] : item.pictures;
      const names = item.kind === "pair" ? ["left", "right"] : tokens.map((_, index) => String(index + 1));
      const made = tokens.map((token, index) => picture(address(token), item.kind === "pair" ? t(`voting.${names[index]}`) : names[index], () => !this.dropped));
      this.images = made.map(({ image }) => image);
      this.cells = this.images.map((image, index) => h("figure", { class: "vt-cell", data: { side: names[index] } }, h("div", { class: "vt-clip" }, image), item.kind === "pair" ? null : h("figcaption", { class: "vt-tag", text: names[index] })));
      this.element = h("div", { class: `vt-layer vt-${item.kind}`, data: { key: item.key } }, this.cells);
      this.ready = Promise.all(made.map(({ load }) => load())).then((all) => all.every(Boolean));
      this.ready.then((good) => { this.isReady = good; });
    }

    drop() {
      this.dropped = true;
      this.element.remove();
      for (const image of this.images) image.removeAttribute("src");
    }
  }

  class VoteStage {
    // picked(side or number): a picture was clicked; stacked(yes): the pictures of a pair lie above each other
    constructor({ address, picked, stacked }) {
      Object.assign(this, { address, picked, stacked, layers: new Map(), current: null, zoom: null, view: "" });
      this.note = h("p", { class: "vt-view-note", "aria-live": "polite", hidden: true });
      this.reference = h("img", { class: "vt-reference", alt: t("voting.reference"), hidden: true });
      this.element = h("div", { class: "vt-stage" }, this.reference, this.note);
      new ResizeObserver(() => this.arrange()).observe(this.element);
      this.listen();
    }

    // Layers for these items and no others; the first ones begin to load first.
    prepare(items, kept = []) {
      const wanted = new Set([...items, ...kept].map(({ key }) => key));
      for (const [key, layer] of this.layers) if (!wanted.has(key)) { layer.drop(); this.layers.delete(key); }
      for (const item of items) if (!this.layers.has(item.key)) this.add(item);
    }

    add(item) {
      const layer = new VoteLayer(item, this.address);
      this.layers.set(item.key, layer);
      this.element.append(layer.element);
      layer.ready.then(() => this.arrange());
      return layer;
    }

    // Shows an item, now if it is decoded; resolves once both pictures are painted, to false when something else is shown by then.
    async show(item) {
      this.leave();
      const layer = this.layers.get(item.key) ?? this.add(item);
      this.current?.element.removeAttribute("data-shown");
      this.current = layer;
      layer.element.toggleAttribute("data-shown", true);
      this.element.toggleAttribute("data-waiting", !layer.isReady);
      this.element.dataset.key = item.key;
      if (!layer.isReady && !(await layer.ready)) return false;
      if (this.current !== layer) return false;
      this.element.removeAttribute("data-waiting");
      if (item.kind === "pair") this.stacked(layer.element.dataset.columns === "1");
      await painted();
      return this.current === layer;
    }

    clear() {
      this.leave();
      for (const layer of this.layers.values()) layer.drop();
      this.layers.clear();
      this.current = null;
      delete this.element.dataset.key;
    }

    // ---------------------------------------------------------------- how pictures lie
    // Beside or above each other, by what makes them larger; of many, the number of columns that does.
    arrange() {
      const { clientWidth: width, clientHeight: height } = this.element;
      if (!width || !height) return;
      for (const { element, images } of this.layers.values()) {
        const ratio = images[0].naturalWidth / images[0].naturalHeight || 1;
        const size = (columns) => {
          const rows = Math.ceil(images.length / columns);
          return Math.min((width - GAP * (columns - 1)) / columns, (ratio * (height - GAP * (rows - 1))) / rows);
        };
        const columns = images.map((_, index) => index + 1).reduce((best, one) => (size(one) > size(best) ? one : best), 1);
        element.style.setProperty("--columns", columns);
        element.dataset.columns = String(columns);
      }
      if (this.current?.item.kind === "pair") this.stacked(this.current.element.dataset.columns === "1");
      if (this.zoom) this.move(this.zoom);
    }

    // ---------------------------------------------------------------- views
    // name: flicker | difference | "" for both beside each other
    look(name) {
      if (!this.current || this.current.item.kind !== "pair") return;
      clearInterval(this.flickering);
      this.view = name;
      this.element.dataset.view = name;
      this.element.dataset.front = "left";
      if (name === "flicker") this.flickering = setInterval(() => this.turn(), FLICKER_MS);
      this.say();
    }

    turn() {
      this.element.dataset.front = this.element.dataset.front === "left" ? "right" : "left";
      this.say();
    }

    say() {
      this.note.hidden = !this.view;
      this.note.textContent = this.view === "flicker" ? t(`voting.${this.element.dataset.front}`) : this.view ? t(`voting.view_${this.view}`) : "";
    }

    async showReference(token) {
      if (!token || !this.reference.hidden) return this.hideReference();
      this.reference.src = this.address(token);
      this.reference.hidden = false;
      this.view = "reference";
      this.say();
    }

    hideReference() {
      this.reference.hidden = true;
      if (this.view === "reference") this.view = "";
      this.say();
    }

    // Whether there was something to leave.
    leave() {
      const was = Boolean(this.view || this.zoom);
      if (this.view === "reference") this.hideReference();
      else if (this.view) this.look("");
      this.unzoom();
      return was;
    }

    // ---------------------------------------------------------------- zoom: one transform for all pictures of a layer
    toggleZoom() {
      if (this.zoom) return this.unzoom();
      const cell = this.current?.cells[0];
      if (!cell) return;
      const shown = Math.min(cell.clientWidth / this.current.images[0].naturalWidth, cell.clientHeight / this.current.images[0].naturalHeight);
      const real = 1 / (shown * devicePixelRatio);
      const point = this.pointer ?? { x: cell.clientWidth / 2, y: cell.clientHeight / 2 };
      this.scaleAt(point, real > 1.2 ? real : 2);
    }

    scaleAt({ x, y }, scale) {
      const from = this.zoom ?? { x: 0, y: 0, s: 1 };
      const s = Math.min(LARGEST_ZOOM, Math.max(1, scale));
      if (s === 1) return this.unzoom();
      this.move({ s, x: x - ((x - from.x) * s) / from.s, y: y - ((y - from.y) * s) / from.s });
    }

    move({ s, x, y }) {
      const cell = this.current?.cells[0];
      if (!cell) return;
      const within = (value, size) => Math.min(0, Math.max(size * (1 - s), value));
      this.zoom = { s, x: within(x, cell.clientWidth), y: within(y, cell.clientHeight) };
      this.element.toggleAttribute("data-zoomed", true);
      this.element.style.setProperty("--zoom", `translate(${this.zoom.x}px, ${this.zoom.y}px) scale(${s})`);
    }

    unzoom() {
      this.zoom = null;
      this.element.removeAttribute("data-zoomed");
      this.element.style.removeProperty("--zoom");
    }

    // ---------------------------------------------------------------- mouse and touch
    listen() {
      const inCell = (event) => {
        const cell = event.target.closest(".vt-cell");
        const box = cell?.getBoundingClientRect();
        return cell && { cell, x: event.clientX - box.left, y: event.clientY - box.top };
      };
      let drag = null;
      this.element.addEventListener("pointermove", (event) => {
        this.pointer = inCell(event);
        if (!drag) return;
        drag.moved ||= Math.hypot(event.clientX - drag.x, event.clientY - drag.y) > SLIP;
        if (this.zoom && drag.zoom) this.move({ s: this.zoom.s, x: drag.zoom.x + event.clientX - drag.x, y: drag.zoom.y + event.clientY - drag.y });
      });
      this.element.addEventListener("pointerleave", () => { this.pointer = null; });
      this.element.addEventListener("pointerdown", (event) => {
        if (event.button) return;
        drag = { x: event.clientX, y: event.clientY, zoom: this.zoom, moved: false };
        if (this.zoom) this.element.setPointerCapture(event.pointerId);
      });
      this.element.addEventListener("pointercancel", () => { drag = null; });
      this.element.addEventListener("click", (event) => {
        const was = drag;
        drag = null;
        const place = inCell(event);
        if (!place || this.zoom || this.view || was?.moved) return;
        this.picked(place.cell.dataset.side);
      });
      this.element.addEventListener("wheel", (event) => {
        const place = inCell(event);
        if (!place || this.view === "reference") return;
        event.preventDefault();
        this.scaleAt(place, (this.zoom?.s ?? 1) * 1.0015 ** -event.deltaY);
      }, { passive: false });
    }
  }

  at.VoteStage = VoteStage;
})();
