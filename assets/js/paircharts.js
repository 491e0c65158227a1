// The plots of preference training: lines of the pairs that are trained, dots of those that were held out; and what is wrong.
(() => {
  "use strict";
  const at = window.atelier;
  const { t, h, icon } = at;
  const COLUMNS = ["accuracy", "margin", "winner_error", "loser_error", "winner_change", "loser_change", "drift", "gradient_factor"];
  const PLOTS = { accuracy: ["accuracy"], margin: ["margin"], errors: ["winner_error", "loser_error"], changes: ["winner_change", "loser_change"], drift: ["drift"], gradient_factor: ["gradient_factor"] };
  const COLOURS = ["accent", "danger"]; // of the preferred picture, and of the other one

  const rounded = (value) => at.number(value === null || value === undefined ? value : +value.toPrecision(3));

  class PairCharts {
    // shared: of all plots of the run
    constructor(shared) {
      this.clear();
      this.plots = Object.fromEntries(Object.keys(PLOTS).map((name) => [name, new at.Plot({ shared, small: true, title: t(`plot.${name}`), xName: t("plot.step") })]));
      Object.assign(this.plots.accuracy, { floor: 0, ceiling: 1 });
      Object.assign(this.plots.gradient_factor, { floor: 0 });
      this.values = {};
      this.alarms = h("ul", { class: "checks pair-alarms" });
      this.compare = at.button(t("run.compare_pairs"), "preferences", () => this.onCompare?.());
      this.compare.id = "run-compare";
      this.element = h("section", { class: "pair-charts", hidden: true }, h("h3", { text: t("plot.pairs") }), this.alarms,
        h("div", { class: "multiples" }, Object.entries(PLOTS).map(([name, columns]) => this.figure(name, columns))),
        h("div", { class: "pair-proof" }, h("p", { text: t("plot.pairs_note") }), this.compare));
    }

    figure(name, columns) {
      this.values[name] = h("b");
      const title = columns.length === 1 ? h("span", { text: t(`plot.${name}`) }) : h("span", {}, h("span", { text: t(`plot.${name}`) }), ...["preferred", "other"].map((side, i) => h("span", { class: "pair-key" }, h("i", { style: { background: `var(--${COLOURS[i]})` } }), h("span", { text: t(`plot.${side}`) }))));
      return h("figure", { class: `multiple multiple-${name}`, title: t(`plot.${name}.note`) }, h("figcaption", {}, title, this.values[name]), this.plots[name].element);
    }

    clear() {
      this.step = [];
      this.data = Object.fromEntries(COLUMNS.map((name) => [name, []]));
      this.held = new Map(); // step -> values
    }

    get known() {
      return this.step.length > 0;
    }

    add(step, values) {
      if (!values.length) return;
      this.step.push(step);
      COLUMNS.forEach((name, i) => this.data[name].push(values[i]));
    }

    addHeld(step, values) {
      if (values.length) this.held.set(step, values);
    }

    // smooth: as of the loss
    draw(smooth) {
      this.element.hidden = !this.known;
      if (!this.known) return;
      const steps = [...this.held.keys()].sort((one, other) => one - other);
      for (const [name, columns] of Object.entries(PLOTS)) {
        this.plots[name].series = columns.flatMap((column, i) => [
          { name: t(`plot.${columns.length > 1 ? ["preferred", "other"][i] : name}`), colour: COLOURS[i], x: this.step, y: at.smoothed(this.data[column], smooth) },
          { name: t("plot.held_out"), colour: COLOURS[i], dots: true, x: steps, y: steps.map((step) => this.held.get(step)[COLUMNS.indexOf(column)]) },
        ]);
        this.values[name].textContent = columns.map((column) => rounded(at.smoothed(this.data[column], smooth).at(-1))).join(" / ");
      }
    }

    // alarms: [code, step, message, hint]
    tell(alarms) {
      const key = JSON.stringify(alarms);
      if (key === this.alarmKey) return;
      this.alarmKey = key;
      this.alarms.replaceChildren(...alarms.map(([code, step, message, hint]) => h("li", { class: "warning", data: { code } }, icon("warning"), h("div", {}, h("strong", { text: at.words[`alarm.${code}`] ?? message }), h("span", { class: "hint", text: `${at.sentence(t("run.step_n", { n: step }))}. ${at.words[`alarm.${code}.hint`] ?? hint}` })))));
    }

    // Columns and cells of a table: the pairs at each step.
    table() {
      return this.known ? { names: COLUMNS, cells: (i) => COLUMNS.map((name) => this.data[name][i] ?? "") } : { names: [], cells: () => [] };
    }
  }

  at.PairCharts = PairCharts;
})();
