// Step 3: the door to the voting page, and the link for people who only label.
(() => {
  "use strict";
  const at = window.atelier;
  const { t, h, icon } = at;

  const ORDERS = ["unseen", "disagreement", "margin", "random", "best_worst"];

  class PreferenceLabel {
    // vote(order): opens the voting page; build(): the pane where pairs are made
    constructor({ ask, vote, build }) {
      Object.assign(this, { ask, set: "", link: "" });
      this.button = at.button("", "preferences", () => vote(this.order.value), "primary cp-start");
      this.button.id = "pf-vote";
      this.order = h("select", { class: "cp-select", id: "pf-order", onchange: () => at.save("vote-order", this.order.value) }, ORDERS.map((order) => h("option", { value: order, text: t(`voting.order_${order}`) })));
      this.order.value = at.load("vote-order") ?? ORDERS[0];
      this.note = h("p", { class: "muted" });
      this.people = h("div", { class: "pf-people" });
      this.address = h("code", { class: "pf-link" });
      this.linked = h("section", { class: "step" }, h("h3", { text: t("preferences.link") }), h("p", { class: "muted", text: t("preferences.link.note") }), h("div", { class: "pf-link-line" }, this.address, at.button(t("common.copy"), "copy", () => at.copy(this.link))));
      this.some = h("div", { class: "pf-pane" }, h("section", { class: "step pf-door" }, this.note, h("label", { class: "ds-label pf-which" }, h("span", { text: t("voting.order") }), this.order), this.button, h("p", { class: "pf-keys muted" }, h("kbd", { text: "\u2190" }), h("kbd", { text: "\u2192" }), h("kbd", { text: "\u2193" }), h("kbd", { text: "\u2191" }), h("span", { text: t("preferences.keys") })), this.people), this.linked);
      this.why = h("p");
      this.build = at.button(t("preferences.to_pairs"), null, build, "primary");
      this.none = h("div", { class: "empty" }, icon("preferences"), this.why, this.build);
      this.element = h("div", {}, this.none, this.some);
    }

    async open(set) {
      Object.assign(this, { set, link: "" });
      const answer = set ? await this.ask.pref_link(set) : null;
      if (set !== this.set || !answer?.link) return;
      this.link = new URL(answer.link, location.origin).href;
      this.address.textContent = this.link;
    }

    show({ pairs, annotators, pictures, votes }) {
      this.none.hidden = pairs > 0;
      this.some.hidden = !pairs;
      this.why.textContent = t(pictures > 1 ? "preferences.no_pairs" : "preferences.no_pictures");
      this.build.hidden = pictures < 2;
      this.button.lastChild.textContent = at.some("preferences.label", pairs);
      this.note.textContent = t(votes ? "preferences.label_more" : "preferences.label_note");
      const rows = Object.entries(annotators).map(([name, n]) => [name, n, Math.min(100, (100 * n) / pairs)]);
      this.people.hidden = !rows.length;
      this.people.replaceChildren(h("h3", { text: t("preferences.progress") }), ...rows.map(([name, n, percent]) => h("div", { class: "pf-person" }, h("span", { text: name }), h("span", { class: "bar", style: { "--part": `${percent}%` } }), h("b", { text: `${n} / ${pairs}` }))));
    }
  }

  at.PreferenceLabel = PreferenceLabel;
})();
