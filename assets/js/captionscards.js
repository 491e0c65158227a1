// Step 2: the captioner. Families first, then the models of the chosen one, then what one should know of the chosen model.
(() => {
  "use strict";
  const at = window.atelier;
  const { t, h, icon } = at;
  const FIT_ICONS = { yes: "ok", tight: "warning", no: "problem" };

  const size = (card) => (card.kind === "server" ? "" : card.built_in ? t("captioning.built_in") : card.here ? t("models.on_disk") : card.download_gib ? t("models.download", { size: at.gb(card.download_gib) }) : "");
  const fact = (iconName, text, kind = "") => h("span", { class: `fact ${kind}` }, icon(iconName), h("span", { text }));

  class CaptionCards {
    // chosen(name): another captioner
    constructor(chosen) {
      Object.assign(this, { chosen, cards: [], name: "" });
      this.families = h("div", { class: "cp-families", role: "radiogroup", "aria-label": t("captioning.captioner") });
      this.models = h("div", { class: "cp-models", role: "radiogroup", "aria-label": t("captioning.model"), hidden: true });
      this.about = h("div", { class: "cp-about" });
      this.element = h("div", { class: "cp-step-body" }, this.families, this.models, this.about);
    }

    card(name = this.name) {
      return this.cards.find((one) => one.name === name) ?? null;
    }

    show(cards, name) {
      Object.assign(this, { cards, name });
      const chosen = this.card();
      const families = [...new Set(cards.map(({ family }) => family))];
      this.families.replaceChildren(...families.map((family) => this.family(family, family === chosen?.family)));
      const sisters = cards.filter(({ family }) => family === chosen?.family);
      this.models.hidden = sisters.length < 2;
      this.models.replaceChildren(...sisters.map((card) => this.model(card, card.name === name)));
      this.about.replaceChildren(...(chosen ? this.facts(chosen) : []));
    }

    family(family, chosen) {
      const cards = this.cards.filter((card) => card.family === family);
      const [title, note] = [at.words[`captioning.family.${family}`] ?? cards[0].title, at.words[`captioning.family.${family}.note`] ?? cards[0].note];
      const here = cards.some((card) => card.here && card.download_gib);
      return h("button", { type: "button", class: "card cp-family", role: "radio", "aria-checked": String(chosen), data: { family }, onclick: () => chosen || this.choose(this.first(cards)) },
        h("span", { class: "card-title" }, h("i", { class: "radio" }), h("strong", { text: title })),
        h("span", { class: "card-note", text: note }),
        here ? h("span", { class: "facts" }, fact("ok", t("models.on_disk"))) : null);
    }

    // Of a family: one that is there already and fits, else the first that fits, else the first.
    first(cards) {
      const fits = (card) => card.fits !== "no";
      return (cards.find((card) => card.here && fits(card)) ?? cards.find(fits) ?? cards[0]).name;
    }

    choose(name) {
      const group = document.activeElement?.closest(".cp-models") ? this.models : this.families;
      this.show(this.cards, name);
      group.querySelector("[aria-checked=true]")?.focus({ preventScroll: true });
      this.chosen(name);
    }

    model(card, chosen) {
      const numbers = [card.params >= 0.01 ? t("captioning.billions", { n: +card.params.toFixed(2) }) : "", card.memory_gib ? t("captioning.memory", { size: at.gb(card.memory_gib) }) : "", size(card)].filter(Boolean).join(" \u00b7 ");
      return h("button", { type: "button", class: "cp-model", role: "radio", "aria-checked": String(chosen), data: { captioner: card.name }, onclick: () => chosen || this.choose(card.name) },
        h("i", { class: "radio" }), h("strong", { text: card.title }), h("span", { class: "cp-model-facts", text: numbers }),
        card.fits ? h("span", { class: `fact fit-${card.fits}`, title: t(`models.fit_${card.fits}`) }, icon(FIT_ICONS[card.fits]), h("span", { class: "visually-hidden", text: t(`models.fit_${card.fits}`) })) : null);
    }

    facts(card) {
      const nf4 = card.memory_nf4_gib ? t("captioning.memory_nf4", { size: at.gb(card.memory_gib), small: at.gb(card.memory_nf4_gib) }) : card.memory_gib ? t("captioning.memory", { size: at.gb(card.memory_gib) }) : "";
      const licence = t("captioning.licence", { licence: card.licence });
      return [
        h("p", { class: "cp-note", text: card.note }),
        h("span", { class: "facts" },
          fact("picture", t(`captioning.writes_${card.writes}`)),
          card.page ? h("a", { class: "fact", href: card.page, target: "_blank", rel: "noreferrer" }, icon(card.gated ? "lock" : "file"), h("span", { text: licence })) : fact(card.gated ? "lock" : "file", licence),
          size(card) ? fact(card.here || card.built_in ? "ok" : "download", size(card)) : null,
          nf4 ? fact(FIT_ICONS[card.fits] ?? "table", card.fits ? t("captioning.memory_fit", { memory: nf4, fit: t(`models.fit_${card.fits}`).toLocaleLowerCase() }) : nf4, card.fits ? `fit-${card.fits}` : "") : null),
        card.gated && !card.here ? h("p", { class: "cp-warning" }, icon("lock"), h("span", { text: t("captioning.gated") })) : null,
        card.needs ? h("p", { class: "cp-warning" }, icon("warning"), h("span", { text: t("captioning.needs") }), h("code", { text: card.needs }), at.iconButton(t("common.copy"), "copy", () => at.copy(card.needs))) : null,
      ].filter(Boolean);
    }
  }

  at.CaptionCards = CaptionCards;
})();
