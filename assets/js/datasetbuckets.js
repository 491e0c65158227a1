// Which shapes the pictures of a set are trained at: one bar for each bucket, at each resolution of the draft.
(() => {
  "use strict";
  const at = window.atelier;
  const { t, h } = at;

  class DatasetBuckets {
    // ask(): [{resolution, buckets: [{size, n, loss}]}]
    constructor(ask) {
      this.ask = ask;
      this.element = h("section", { class: "ds-buckets", hidden: true, "aria-label": t("dataset.buckets") });
    }

    toggle() {
      this.element.hidden = !this.element.hidden;
      this.look();
      return !this.element.hidden;
    }

    async look() {
      if (this.element.hidden) return;
      const found = await this.ask();
      if (found) this.element.replaceChildren(...found.map((one) => this.chart(one)));
    }

    chart({ resolution, buckets }) {
      const most = Math.max(1, ...buckets.map(({ n }) => n));
      return h("figure", { class: "ds-chart" }, h("figcaption", { text: t("dataset.at_resolution", { n: resolution }) }),
        h("div", { class: "ds-bars" }, buckets.map(({ size: [width, height], n, loss }) => {
          const cut = `${+(100 * loss).toFixed(1)} %`;
          return h("div", { class: "ds-bar-column", title: t("dataset.bucket", { size: `${width} \u00d7 ${height}`, n, part: cut }) },
            h("b", { text: String(n) }),
            h("i", { class: loss > 0.15 ? "warning" : "", style: { height: `${Math.max(2, Math.round((72 * n) / most))}px` } }),
            h("span", { text: `${width}\u00d7${height}` }), h("small", { text: loss >= 0.0005 ? t("dataset.cut", { part: cut }) : "" }));
        })));
    }
  }

  at.DatasetBuckets = DatasetBuckets;
})();
