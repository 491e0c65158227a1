// Step 1: pictures are drawn for prompts, several for each, and show by prompt as they come.
(() => {
  "use strict";
  const at = window.atelier;
  const { t, h } = at;
  const PAGE = 20; // prompts

  // One picture in full, with what the scorers say of it. Arrow keys go on within the prompt.
  function look(prompt, pictures, index) {
    const picture = h("img", { class: "pf-large", alt: prompt });
    const facts = h("p", { class: "pf-look-facts" });
    const show = (next) => {
      index = (next + pictures.length) % pictures.length;
      const [, , url, scores] = pictures[index];
      picture.src = url;
      facts.textContent = [`${index + 1} / ${pictures.length}`, ...Object.entries(scores).map(([scorer, value]) => `${scorer} ${at.number(value)}`)].join(" \u00b7 ");
    };
    const box = h("div", { class: "pf-look", tabindex: "0", onkeydown: (event) => {
      const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
      if (step) show(index + step);
    } }, picture, h("p", { class: "pf-look-prompt", text: prompt }), facts);
    at.dialog(t("preferences.picture"), box, [[t("common.close"), ""]]);
    box.closest("dialog").classList.add("pf-wide");
    show(index);
    box.focus();
  }

  // The newest pictures by prompt; more come with a button.
  class PreferenceStrip {
    constructor(ask) {
      Object.assign(this, { ask, set: "", shown: PAGE, answer: null });
      this.head = h("h2", { text: t("preferences.strip") });
      this.list = h("div", { class: "pf-prompts" });
      this.more = at.button(t("preferences.more_prompts"), null, () => { this.shown += PAGE; this.look(); });
      this.element = h("section", { class: "step pf-strip", hidden: true }, this.head, this.list, this.more);
    }

    open(set) {
      Object.assign(this, { set, shown: PAGE, key: "", answer: null });
      this.element.hidden = true;
      this.list.replaceChildren();
      return this.look();
    }

    async look() {
      const { set } = this;
      const found = [];
      let total = 0;
      for (let first = 0; first < this.shown; first += PAGE) {
        const answer = set ? await this.ask.pref_pictures([set, first, PAGE]) : null;
        if (!answer?.prompts || set !== this.set) return;
        found.push(...answer.prompts);
        total = answer.total;
        if (found.length >= total) break;
      }
      this.draw(found, total);
    }

    draw(prompts, total) {
      this.element.hidden = !prompts.length;
      this.more.hidden = prompts.length >= total;
      const known = new Map([...this.list.children].map((row) => [row.dataset.key, row]));
      // a row that has not changed stays, so that no picture is loaded again
      this.list.replaceChildren(...prompts.map((one) => known.get(JSON.stringify(one)) ?? this.row(one)));
    }

    row(one) {
      const { prompt, pictures, more } = one;
      const thumbs = pictures.map(([id, thumb], index) => h("button", { type: "button", class: "pf-thumb", data: { picture: id }, "aria-label": t("preferences.look_at", { n: index + 1 }), onclick: () => look(prompt, pictures, index) }, h("img", { src: thumb, alt: "", loading: "lazy" })));
      return h("div", { class: "pf-prompt", data: { key: JSON.stringify(one) } }, h("p", { class: "pf-prompt-text", title: prompt, text: prompt || t("preferences.no_prompt") }), h("div", { class: "pf-thumbs" }, thumbs, more ? h("span", { class: "thumb more", text: `+${more}` }) : null));
    }
  }

  class PreferencePictures {
    // started(): a job was started or stopped
    constructor({ ask, started }) {
      this.task = new at.PreferenceTask({
        ask, kind: "generate", started,
        numbers: ({ facts }) => facts.prompts ? [[facts.prompts, t("preferences.prompts")], [facts.there, t("preferences.there")], [facts.to_do, t("preferences.to_draw")]] : [],
        label: ({ facts }) => facts?.to_do ? at.some("preferences.draw", facts.to_do) : "",
      });
      this.strip = new PreferenceStrip(ask);
      this.element = h("div", { class: "pf-pane" }, h("div", { class: "pf-columns" }, h("section", { class: "step" }, h("p", { class: "muted", text: t("preferences.pictures_note") }), this.task.form.element), h("div", { class: "pf-beside" }, this.task.side, this.strip.element)));
    }

    open(set) {
      return Promise.all([this.task.open(set), this.strip.open(set)]);
    }

    // status: of the set; it is shown while the pane is open
    show(status) {
      this.task.show(status.jobs.generate);
      if (status.pictures === this.pictures && status.name === this.strip.set) return;
      this.pictures = status.pictures;
      this.strip.look();
    }
  }

  Object.assign(at, { PreferencePictures, lookAtPicture: look });
})();
