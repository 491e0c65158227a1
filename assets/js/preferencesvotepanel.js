// What lies beside the pictures of a vote: the drawer with what was behind the last pair, the summary at the end, the keys, the name.
(() => {
  "use strict";
  const at = window.atelier;
  const { t, h, button } = at;
  const ORDERS = ["unseen", "disagreement", "margin", "random", "best_worst"];
  const KEYS = [["1 \u2190", "left"], ["2 \u2192", "right"], ["3 \u2193", "tie"], ["4 \u2191", "both_bad"], ["S", "skip"], ["U", "undo"], ["Space", "flicker"], ["Z", "zoom"], ["D", "difference"], ["R", "reference"], ["I", "drawer"], ["Esc", "escape"]];

  const percent = (share) => `${Math.round(100 * share)} %`;
  const line = (name, value, kind = "") => [h("dt", { text: name }), h("dd", { class: kind, text: value })];
  const table = (head, rows, kind = "") => h("table", { class: `vt-table ${kind}` }, h("thead", {}, h("tr", {}, head.map((text) => h("th", { scope: "col", text })))), h("tbody", {}, rows));

  // ---------------------------------------------------------------- behind a pair
  function scoreRow({ scorer, left, right, prefers }, choice) {
    const cell = (side, value) => h("td", { class: prefers === side ? "vt-better" : "", text: value === null ? "-" : at.number(value) });
    const decided = ["left", "right"].includes(choice) && ["left", "right"].includes(prefers);
    const word = decided ? t(choice === prefers ? "voting.agrees" : "voting.disagrees") : "";
    return h("tr", {}, h("th", { scope: "row", text: scorer }), cell("left", left), cell("right", right), h("td", { class: "vt-word", text: word }));
  }

  const scoreTable = (scores, choice) => table([t("voting.scorer"), t("voting.left"), t("voting.right"), ""], scores.map((score) => scoreRow(score, choice)), "vt-scores");

  function howMade(made) {
    const adapters = (made.adapters ?? []).map(({ name, scale }) => (scale === null || scale === undefined ? name : `${name} \u00d7 ${at.number(scale)}`)).join(", ");
    const facts = { source: made.source ? t(`voting.source_${made.source}`) : "", base: made.base, adapters, seed: made.seed, steps: made.steps, cfg: made.cfg, size: made.size?.[0] ? made.size.join(" \u00d7 ") : "" };
    return Object.entries(facts).filter(([, value]) => value !== "" && value !== null && value !== undefined);
  }

  function madeTable(left, right) {
    const sides = [Object.fromEntries(howMade(left)), Object.fromEntries(howMade(right))];
    const names = [...new Set(sides.flatMap((side) => Object.keys(side)))];
    const rows = names.map((name) => h("tr", {}, h("th", { scope: "row", text: t(`voting.made_${name}`) }), sides.map((side) => h("td", { text: String(side[name] ?? "-") }))));
    return table(["", t("voting.left"), t("voting.right")], rows);
  }

  function othersLine(others) {
    const said = Object.entries(others ?? {}).map(([choice, count]) => t("voting.others_said", { choice: t(`voting.${choice}`), n: count }));
    return h("p", { class: "muted", text: said.length ? said.join(", ") : t("voting.others_none") });
  }

  function autoLine({ winner, margin }) {
    return h("p", { class: "muted", text: t("voting.auto", { choice: t(`voting.${winner}`), margin: at.number(margin) }) });
  }

  // The drawer. scoresFirst(on), ordered(name): a setting was changed.
  class VoteDrawer {
    constructor({ blind, order, scoresFirst, ordered, close }) {
      this.body = h("div", { class: "vt-behind" });
      this.before = h("div", { class: "vt-before", hidden: true });
      const choice = h("select", { class: "vt-select", id: "vt-order", onchange: (event) => ordered(event.target.value) }, ORDERS.map((name) => h("option", { value: name, text: t(`voting.order_${name}`), selected: name === order })));
      const toggle = h("input", { type: "checkbox", id: "vt-scores-first", onchange: (event) => scoresFirst(event.target.checked) });
      this.choice = choice;
      this.element = h("aside", { class: "vt-drawer", "aria-label": t("voting.drawer"), hidden: true },
        h("header", {}, h("h2", { text: t("voting.drawer") }), h("button", { type: "button", class: "icon-button", "aria-label": t("common.close"), onclick: close }, h("span", { text: "\u00d7" }))),
        this.before, this.body,
        h("footer", {}, h("label", { for: "vt-order", text: t("voting.order") }), choice, blind ? null : h("label", { class: "vt-check" }, toggle, h("span", { text: t("voting.scores_first") }))));
      this.show(null);
    }

    get open() {
      return !this.element.hidden;
    }

    toggle(open = this.element.hidden) {
      this.element.hidden = !open;
    }

    // What was behind the pair that was answered last; nothing until there is one.
    show(behind) {
      if (!behind?.left) return this.body.replaceChildren(h("p", { class: "muted", text: t("voting.behind_none") }));
      this.body.replaceChildren(
        h("h3", { text: t("voting.behind") }), h("p", { text: t("voting.you_chose", { choice: t(`voting.${behind.choice}`) }) }),
        ...(behind.scores.length ? [scoreTable(behind.scores, behind.choice)] : []), ...(behind.auto.winner ? [autoLine(behind.auto)] : []),
        h("h3", { text: t("voting.others") }), othersLine(behind.others), h("h3", { text: t("voting.made") }), madeTable(behind.left, behind.right));
    }

    // Scores of the pair on the stage, for people who asked for them.
    showBefore(item) {
      this.before.hidden = !item?.scores?.length;
      if (!this.before.hidden) this.before.replaceChildren(h("h3", { text: t("voting.this_pair") }), scoreTable(item.scores, ""));
    }
  }

  // ---------------------------------------------------------------- the end
  function agreementTable(scorers) {
    const rows = Object.entries(scorers).map(([scorer, { share, low, high, n }]) => h("tr", {}, h("th", { scope: "row", text: scorer }), h("td", { text: n ? percent(share) : "-" }), h("td", { class: "muted", text: n ? t("voting.interval", { low: Math.round(100 * low), high: Math.round(100 * high) }) : "" }), h("td", { class: "muted", text: t("voting.of_votes", { n }) })));
    return [h("h3", { text: t("voting.scorer_agreement") }), h("table", { class: "vt-table" }, h("tbody", {}, rows))];
  }

  // Of the one who votes: how many, whether the same answer comes twice, whether a side wins too often.
  function ownFacts({ votes, skips, fast, consistency, position }) {
    const rows = [line(t("voting.sum_votes"), skips ? t("voting.sum_votes_skips", { n: votes, skips }) : String(votes))];
    rows.push(line(t("voting.sum_consistency"), consistency.n ? t("voting.sum_consistency_value", { share: Math.round(100 * consistency.share), n: consistency.n }) : t("voting.sum_consistency_none")));
    const biased = position.p < 0.05;
    if (position.n) rows.push(line(t("voting.sum_left"), t(biased ? "voting.sum_left_biased" : "voting.sum_left_value", { share: Math.round((100 * position.left) / position.n), n: position.n }), biased ? "vt-warn" : ""));
    if (fast) rows.push(line(t("voting.sum_fast"), String(fast), fast > votes / 10 ? "vt-warn" : ""));
    return rows;
  }

  function sumFacts(found, person) {
    const own = found.annotators.find(({ name }) => name === person);
    const rows = own ? ownFacts(own) : [];
    if (found.annotators.length > 1) rows.push(line(t("voting.sum_all"), t("voting.sum_all_value", { n: found.votes, people: found.annotators.length })));
    if (found.fleiss !== null) rows.push(line(t("voting.sum_kappa"), at.number(found.fleiss)));
    return h("dl", { class: "vt-facts" }, rows.flat());
  }

  // The card at the end of the queue. found: of `stats`, null when it cannot be had.
  function voteSummary(found, person, { onleave, ontrain }) {
    const train = ontrain && found?.decided ? button(t("voting.train"), "train", ontrain, "primary") : null;
    if (train) train.id = "vt-train";
    return h("section", { class: "vt-summary" }, h("h2", { text: t(found?.pairs ? "voting.finished" : "voting.nothing") }),
      found?.votes ? sumFacts(found, person) : null, Object.keys(found?.scorers ?? {}).length ? agreementTable(found.scorers) : null,
      h("div", { class: "actions" }, train, onleave ? button(t("voting.leave"), null, onleave) : null));
  }

  // ---------------------------------------------------------------- dialogs
  function voteKeys() {
    const rows = KEYS.map(([keys, word]) => [h("dt", {}, keys.split(" ").map((key) => h("kbd", { text: key }))), h("dd", { text: t(`voting.key_${word}`) })]);
    rows.push([h("dt", {}, h("kbd", { text: "1 ... 9" })), h("dd", { text: t("voting.key_group") })]);
    at.dialog(t("keys.title"), h("dl", { class: "keys vt-keys" }, rows.flat()), [[t("common.close"), "primary"]]);
  }

  // Resolves to a name, or to "" when none was given.
  function askAnnotator(known) {
    return new Promise((done) => {
      const box = h("input", { type: "text", id: "vt-name", maxlength: 40, autocomplete: "nickname", "aria-label": t("voting.name"), placeholder: t("voting.name") });
      box.value = known;
      const good = () => /^[\p{L}\p{N}_][\p{L}\p{N}_ .'-]{0,39}$/u.test(box.value.trim());
      const body = h("div", { class: "vt-name" }, h("p", { text: t("voting.name_why") }), box);
      const close = at.dialog(t("voting.name_title"), body, [[t("voting.begin"), "primary", () => { if (!good()) { box.focus(); return false; } done(box.value.trim()); }]]);
      body.closest("dialog").addEventListener("close", () => done(good() ? box.value.trim() : ""));
      box.addEventListener("keydown", (event) => { if (event.key === "Enter" && !event.isComposing && good()) close(); });
      box.select();
    });
  }

  Object.assign(at, { VoteDrawer, voteSummary, voteKeys, askAnnotator });
})();
