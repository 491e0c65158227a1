// Beside the steps: what would be written, what is asked, the try-out, and the button that starts it all.
(() => {
  "use strict";
  const at = window.atelier;
  const { t, h, icon } = at;

  class CaptionPlan {
    // tryOut(chosen: only the pictures chosen below), start(thenTrain), trainOn(): acts; trial: its view
    constructor({ tryOut, start, trainOn, trial }) {
      Object.assign(this, { trial, check: null });
      this.numbers = h("div", { class: "numbers" });
      this.prompt = h("pre", { class: "code wraps cp-prompt", tabindex: "0" });
      this.asked = h("div", { class: "cp-asked", hidden: true }, h("span", { class: "cp-small muted", text: t("captioning.asked") }), this.prompt);
      this.faults = h("ul", { class: "checks" });
      this.tryThree = at.button(t("captioning.try_three"), "play", () => tryOut(false));
      this.tryThree.id = "cp-try";
      this.tryChosen = at.button("", null, () => tryOut(true));
      this.tryChosen.id = "cp-try-chosen";
      this.caption = h("button", { type: "button", id: "cp-start", class: "button primary cp-start", onclick: () => start(this.train.checked) });
      this.train = h("input", { type: "checkbox", id: "cp-train", onchange: () => this.drawTrain() });
      this.other = h("p", { class: "cp-small muted", hidden: true }, this.otherText = h("span"), " ", h("button", { type: "button", class: "link", text: t("captioning.train_on_these"), onclick: trainOn }));
      this.starting = h("div", { class: "cp-starting" }, this.caption, h("div", { class: "cp-check" }, this.train, h("label", { for: "cp-train", text: t("captioning.then_train") })), this.other);
      this.command = h("pre", { class: "code wraps" });
      this.toml = h("pre", { class: "code" });
      const copying = (name, pre) => h("div", { class: "cp-copy" }, h("span", { class: "cp-small muted", text: t(`toml.${name}`) }), h("span", { class: "grow" }), at.iconButton(t("common.copy"), "copy", () => at.copy(pre.textContent)));
      this.details = h("details", { class: "cp-more" }, h("summary", {}, h("span", { text: t("captioning.command") })), copying("command", this.command), this.command, copying("toml", this.toml), this.toml);
      this.element = h("section", { class: "plan cp-plan" }, h("h2", { text: t("plan.title") }), this.numbers, this.asked, this.faults, h("div", { class: "actions" }, this.tryThree, this.tryChosen), trial.element, this.starting, this.details);
    }

    // check: of the server; live: a job goes on; card: of the captioner; chosen: pictures chosen below; set, drafted: the one
    // here and the one that the training form has
    show({ check, live, card, chosen, set, drafted, fields }) {
      Object.assign(this, { set, drafted });
      this.element.hidden = live; // the job stands in its place
      const pictures = check?.pictures ?? { total: 0, to_do: 0 }; // none while a setting cannot be used
      const faults = this.faultsOf(check, fields);
      const possible = Boolean(check) && !faults.length && pictures.total > 0;
      const kept = pictures.total - pictures.to_do;
      const pace = check?.pictures ? this.trial.pace(card?.name) : null;
      const cell = (value, label) => h("div", {}, h("b", { text: String(value) }), h("span", { text: label }));
      this.numbers.replaceChildren(cell(check?.pictures ? pictures.to_do : "-", t("captioning.to_do")), cell(check?.pictures ? kept : "-", t("captioning.kept")), cell(pace ? at.time(pace * pictures.to_do) : card?.memory_gib ? at.gb(card.memory_gib) : "-", t(pace ? "captioning.time" : "captioning.peak")));
      this.asked.hidden = !check?.prompt;
      if (this.prompt.textContent !== check?.prompt) this.prompt.textContent = check?.prompt ?? "";
      this.faults.replaceChildren(...faults.map(([level, message]) => h("li", { class: level }, icon(level), h("div", {}, h("span", { text: at.sentence(message) })))));
      this.tryThree.disabled = !possible || this.trial.live;
      this.tryChosen.hidden = !chosen;
      this.tryChosen.disabled = this.tryThree.disabled;
      this.tryChosen.querySelector("span").textContent = at.some("captioning.try_chosen", chosen);
      this.caption.disabled = !possible || !pictures.to_do || this.trial.live;
      this.caption.textContent = pictures.to_do ? at.some("captioning.start", pictures.to_do) : t(check?.pictures ? "captioning.nothing_to_do" : "captioning.caption");
      this.command.textContent = check?.command ?? "";
      this.toml.textContent = check?.toml ?? "";
      this.details.hidden = !check?.command;
      this.drawTrain();
    }

    // What stands in the way: what is wrong in a field is said there, and here that there is something.
    faultsOf(check, fields) {
      if (!check) return [];
      if (check.error) return [["problem", check.error]];
      const elsewhere = Object.entries(check.errors).filter(([path]) => !fields.has(path)).map(([, message]) => message);
      const marked = Object.keys(check.errors).length > elsewhere.length ? [t("captioning.marked")] : [];
      return [...marked, ...elsewhere, ...(check.blocked ? [check.blocked] : [])].map((message) => ["problem", message]);
    }

    drawTrain() {
      const others = this.train.checked && this.set && this.set.id !== this.drafted;
      this.other.hidden = !others;
      if (others) this.otherText.textContent = t("captioning.train_other", { name: this.set.name });
    }
  }

  at.CaptionPlan = CaptionPlan;
})();
