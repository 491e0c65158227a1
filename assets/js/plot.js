// A line plot on a canvas: raw and smoothed lines, dots, marks, crosshair, zoom, linear or log.
(() => {
  "use strict";
  const at = window.atelier;
  const { h } = at;
  const PAD = { left: 54, right: 12, top: 12, bottom: 24 };
  const MARK_ROWS = 5;

  const colour = (name) => getComputedStyle(document.body).getPropertyValue(`--${name}`).trim();

  // First index whose x is at or above the wanted one; x rises.
  function indexAt(x, wanted) {
    let low = 0;
    let high = x.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (x[middle] < wanted) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  // Mean that forgets, without the pull to zero at the start; gaps (null) are passed over.
  function smoothed(y, weight) {
    if (!weight) return y;
    let mean = 0;
    let seen = 0;
    return y.map((value) => {
      if (value === null || !isFinite(value)) return null;
      mean = weight * mean + (1 - weight) * value;
      seen += 1;
      return mean / (1 - weight ** seen);
    });
  }

  // Steps of 1, 2, 2.5 or 5 that make about `count` ticks.
  function ticks(low, high, count) {
    const rough = (high - low) / Math.max(1, count);
    const power = 10 ** Math.floor(Math.log10(rough || 1));
    const step = [1, 2, 2.5, 5, 10].map((factor) => factor * power).find((size) => size >= rough) ?? power;
    const found = [];
    for (let value = Math.ceil(low / step) * step; value <= high + step * 1e-9; value += step) found.push(+value.toPrecision(12));
    return found;
  }

  function logTicks(low, high) {
    const found = [];
    for (let power = Math.floor(Math.log10(low)); power <= Math.ceil(Math.log10(high)); power++) {
      for (const factor of [1, 2, 5]) {
        const value = factor * 10 ** power;
        if (value >= low * 0.999 && value <= high * 1.001) found.push(value);
      }
    }
    return found.length > 7 ? found.filter((value) => /^1/.test(value.toExponential())) : found;
  }

  class Plot {
    // series: [{name, colour, dots?, raw?, x, y}]; raw lines are drawn thin and pale, behind the others.
    // shared: object that plots of one run have in common, {range: [from, to] | null, hover: x | null, plots: []}
    constructor(options) {
      Object.assign(this, { unit: "", small: false, log: false, marks: [], ticks: [], series: [], hidden: new Set() }, options);
      this.canvas = h("canvas", { role: "img", "aria-label": this.title });
      this.tip = h("div", { class: "plot-tip", hidden: true });
      this.element = h("div", { class: `plot ${this.small ? "small" : "large"}` }, this.canvas, this.tip);
      this.shared.plots.push(this);
      new ResizeObserver(() => this.draw()).observe(this.canvas);
      this.listen();
    }

    listen() {
      const xOf = (event) => this.toX(event.clientX - this.canvas.getBoundingClientRect().left);
      let from = null;
      const everyPlot = (act) => this.shared.plots.forEach(act);
      this.canvas.addEventListener("pointermove", (event) => {
        this.shared.hover = xOf(event);
        this.drag = from === null ? null : [from, xOf(event)];
        everyPlot((plot) => plot.draw());
      });
      this.canvas.addEventListener("pointerleave", () => {
        this.shared.hover = null;
        everyPlot((plot) => plot.draw());
      });
      this.canvas.addEventListener("pointerdown", (event) => {
        if (event.pointerType === "touch") return;
        from = xOf(event);
        this.canvas.setPointerCapture(event.pointerId);
      });
      this.canvas.addEventListener("pointerup", (event) => {
        const to = xOf(event);
        const wide = from !== null && Math.abs(this.toPixel(to) - this.toPixel(from)) > 8;
        if (wide) this.shared.range = [Math.min(from, to), Math.max(from, to)];
        from = this.drag = null;
        everyPlot((plot) => plot.draw());
      });
      this.canvas.addEventListener("dblclick", () => {
        this.shared.range = null;
        everyPlot((plot) => plot.draw());
      });
    }

    // Draws in the next frame, once, however often it is asked for.
    draw() {
      if (this.planned) return;
      this.planned = requestAnimationFrame(() => {
        this.planned = 0;
        this.paint();
      });
    }

    toPixel(x) {
      const [low, high] = this.xs;
      return PAD.left + ((x - low) / (high - low || 1)) * (this.width - PAD.left - PAD.right);
    }

    toX(pixel) {
      const [low, high] = this.xs ?? [0, 1];
      const part = (pixel - PAD.left) / (this.width - PAD.left - PAD.right);
      return low + Math.min(1, Math.max(0, part)) * (high - low);
    }

    toPixelY(y) {
      const scale = this.log ? Math.log10 : (value) => value;
      const [low, high] = this.ys.map(scale);
      return this.height - PAD.bottom - ((scale(y) - low) / (high - low || 1)) * (this.height - PAD.top - PAD.bottom);
    }

    shown() {
      return this.series.filter((line) => !this.hidden.has(line.name));
    }

    setRanges() {
      const lines = this.shown().filter((line) => line.x.length);
      const ends = lines.flatMap((line) => [line.x[0], line.x.at(-1)]);
      const whole = ends.length ? [Math.min(...ends), Math.max(...ends)] : [0, 1];
      this.xs = (this.free ? null : this.shared.range) ?? whole;
      if (this.xs[0] === this.xs[1]) this.xs = [this.xs[0], this.xs[0] + 1];
      let low = Infinity;
      let high = -Infinity;
      for (const line of lines) {
        const end = Math.min(line.x.length, indexAt(line.x, this.xs[1]) + 1);
        for (let i = indexAt(line.x, this.xs[0]); i < end; i++) {
          const y = line.y[i];
          if (y === null || !isFinite(y) || (this.log && y <= 0)) continue;
          if (y < low) low = y;
          if (y > high) high = y;
        }
      }
      if (low > high) [low, high] = this.log ? [0.1, 1] : [0, 1];
      if (this.floor !== undefined) low = Math.min(low, this.floor);
      if (this.ceiling !== undefined) high = Math.max(high, this.ceiling);
      // rounding makes a constant a range of its last digit, in which steps between ticks are too small to count
      if (high - low <= 1e-9 * Math.max(Math.abs(low), Math.abs(high))) [low, high] = low ? [low - Math.abs(low) * 0.1, high + Math.abs(low) * 0.1] : [0, 1];
      const room = (high - low) * 0.06;
      this.ys = this.log ? [low / 1.1, high * 1.1] : [this.floor === low ? low : low - room, high + room];
    }

    paint() {
      const box = this.canvas.getBoundingClientRect();
      if (!box.width) return;
      const ratio = window.devicePixelRatio || 1;
      this.width = box.width;
      this.height = box.height;
      const [w, hgt] = [Math.round(box.width * ratio), Math.round(box.height * ratio)];
      if (this.canvas.width !== w || this.canvas.height !== hgt) Object.assign(this.canvas, { width: w, height: hgt });
      const pen = this.canvas.getContext("2d");
      pen.setTransform(ratio, 0, 0, ratio, 0, 0);
      pen.fillStyle = colour("surface");
      pen.fillRect(0, 0, this.width, this.height);
      pen.font = `11px ${getComputedStyle(this.element).fontFamily}`;
      this.setRanges();
      this.paintGrid(pen);
      pen.save();
      pen.beginPath();
      pen.rect(PAD.left - 5, 0, this.width - PAD.left - PAD.right + 10, this.height - PAD.bottom + 6);
      pen.clip();
      this.paintMarks(pen);
      for (const line of this.shown()) (line.dots ? this.paintDots : this.paintLine).call(this, pen, line);
      this.paintHover(pen);
      pen.restore();
    }

    paintGrid(pen) {
      const bottom = this.height - PAD.bottom;
      pen.strokeStyle = colour("border");
      pen.fillStyle = colour("muted");
      pen.lineWidth = 1;
      pen.textAlign = "right";
      pen.textBaseline = "middle";
      const rows = this.log ? logTicks(...this.ys) : ticks(...this.ys, this.small ? 2 : 5);
      for (const value of rows) {
        const y = Math.round(this.toPixelY(value)) + 0.5;
        if (y < 4 || y > bottom + 1) continue;
        pen.beginPath();
        pen.moveTo(PAD.left, y);
        pen.lineTo(this.width - PAD.right, y);
        pen.stroke();
        pen.fillText(at.number(value), PAD.left - 6, y);
      }
      pen.textAlign = "center";
      pen.textBaseline = "top";
      for (const value of ticks(...this.xs, Math.max(3, Math.min(8, this.width / 110)))) {
        if (!Number.isInteger(value)) continue;
        const x = this.toPixel(value);
        if (x < PAD.left + 4 || x > this.width - PAD.right - 4) continue;
        pen.fillText(String(value), x, bottom + 7);
      }
    }

    // Marks are thin vertical lines with a word; checkpoint ticks sit on the axis.
    paintMarks(pen) {
      const bottom = this.height - PAD.bottom;
      pen.fillStyle = colour("muted");
      for (const x of this.ticks) {
        const pixel = this.toPixel(x);
        pen.beginPath();
        pen.moveTo(pixel - 4, bottom + 5);
        pen.lineTo(pixel + 4, bottom + 5);
        pen.lineTo(pixel, bottom - 2);
        pen.fill();
      }
      if (this.small) return;
      pen.textAlign = "left";
      pen.textBaseline = "top";
      pen.strokeStyle = pen.fillStyle = colour("warning");
      pen.setLineDash([3, 3]);
      const ends = []; // where the last word of each row ends: words that would meet go to rows of their own
      for (const [x, word] of this.marks) {
        const pixel = Math.round(this.toPixel(x)) + 0.5;
        const width = pen.measureText(word).width;
        const left = pixel + 4 + width > this.width - PAD.right ? pixel - 4 - width : pixel + 4;
        const free = ends.findIndex((end) => end < left);
        const row = free < 0 ? ends.length : free;
        ends[row] = left + width + 8;
        pen.beginPath();
        pen.moveTo(pixel, PAD.top);
        pen.lineTo(pixel, bottom);
        pen.stroke();
        if (row < MARK_ROWS) pen.fillText(word, left, PAD.top + 14 * row);
      }
      pen.setLineDash([]);
    }

    // At most two points for a column of pixels, the lowest and the highest: 10,000 steps cost as much as 1,000.
    paintLine(pen, line) {
      const start = Math.max(0, indexAt(line.x, this.xs[0]) - 1);
      const end = Math.min(line.x.length, indexAt(line.x, this.xs[1]) + 1);
      const dense = end - start > 2 * this.width;
      pen.strokeStyle = colour(line.colour);
      pen.globalAlpha = line.raw ? 0.25 : 1;
      pen.lineWidth = line.raw ? 1 : 1.5;
      pen.lineJoin = "round";
      pen.beginPath();
      let open = false;
      const point = (x, y) => {
        if (open) pen.lineTo(x, y);
        else pen.moveTo(x, y);
        open = true;
      };
      let column = null;
      let low = 0;
      let high = 0;
      const flush = () => {
        if (column === null) return;
        point(column, low);
        if (high !== low) point(column, high);
      };
      for (let i = start; i < end; i++) {
        const value = line.y[i];
        if (value === null || !isFinite(value) || (this.log && value <= 0)) {
          flush();
          column = null;
          open = false;
          continue;
        }
        const x = this.toPixel(line.x[i]);
        const y = this.toPixelY(value);
        if (!dense) {
          point(x, y);
          continue;
        }
        const at_ = Math.round(x);
        if (at_ !== column) {
          flush();
          column = at_;
          low = high = y;
        } else {
          low = Math.min(low, y);
          high = Math.max(high, y);
        }
      }
      if (dense) flush();
      pen.stroke();
      pen.globalAlpha = 1;
    }

    paintDots(pen, line) {
      pen.fillStyle = colour(line.colour);
      pen.strokeStyle = colour("surface");
      pen.lineWidth = 1.5;
      line.x.forEach((x, i) => {
        if (line.y[i] === null || x < this.xs[0] || x > this.xs[1]) return;
        pen.beginPath();
        pen.arc(this.toPixel(x), this.toPixelY(line.y[i]), this.small ? 2.5 : 3.5, 0, 2 * Math.PI);
        pen.fill();
        pen.stroke();
      });
    }

    paintHover(pen) {
      const bottom = this.height - PAD.bottom;
      if (this.drag) {
        const [a, b] = this.drag.map((x) => this.toPixel(x));
        pen.globalAlpha = 0.12;
        pen.fillStyle = colour("accent");
        pen.fillRect(Math.min(a, b), PAD.top, Math.abs(b - a), bottom - PAD.top);
        pen.globalAlpha = 1;
      }
      const x = this.shared.hover;
      const lines = this.shown().filter((line) => line.x.length && !(this.small && line.dots));
      this.tip.hidden = x === null || this.free || !lines.length;
      if (this.tip.hidden) return;
      const near = (line) => {
        const i = Math.min(line.x.length - 1, indexAt(line.x, x));
        return i && Math.abs(line.x[i - 1] - x) < Math.abs(line.x[i] - x) ? i - 1 : i;
      };
      const step = lines[0].x[near(lines[0])];
      const pixel = Math.round(this.toPixel(step)) + 0.5;
      pen.strokeStyle = colour("muted");
      pen.lineWidth = 1;
      pen.beginPath();
      pen.moveTo(pixel, PAD.top);
      pen.lineTo(pixel, bottom);
      pen.stroke();
      const rows = lines.map((line) => {
        const i = near(line);
        return h("span", {}, h("i", { style: { background: `var(--${line.colour})`, opacity: line.raw ? 0.4 : 1 } }), this.small ? null : `${line.name} `, h("b", { text: at.number(line.y[i]) }), line.dots ? ` @ ${line.x[i]}` : "");
      });
      this.tip.replaceChildren(h("span", { class: "muted", text: `${this.xName} ${step}` }), ...rows);
      this.tip.style.left = `${Math.min(pixel + 10, this.width - this.tip.offsetWidth - 4)}px`;
    }
  }

  at.Plot = Plot;
  at.smoothed = smoothed;
})();
