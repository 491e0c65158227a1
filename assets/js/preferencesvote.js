// Voting on pairs of pictures. A key shows the next pair at once; answers go to the server behind it, one after another.
(() => {
  "use strict";
  const at = window.atelier;
  const { t, h, icon } = at;
  const LAYERS = 5; // pairs that are loaded and decoded ahead
  const HAND = 10; // pairs that the page keeps; what is left over comes again
  const PAUSE_S = 60; // who takes longer for a vote has been away
  const LOOK_MS = 3000;
  const CHOICES = { 1: "left", arrowleft: "left", 2: "right", arrowright: "right", 3: "tie", arrowdown: "tie", 4: "both_bad", arrowup: "both_bad", s: "skip" };
  const HINTS = [["left", "\u2190", "1"], ["tie", "\u2193", "3"], ["both_bad", "\u2191", "4"], ["right", "\u2192", "2"], ["skip", "S"], ["undo", "U"]];
  const TOOLS = [["flicker", "Space"], ["zoom", "Z"], ["difference", "D"], ["reference", "R"], ["drawer", "I"], ["keys", "?"]];

  const newId = () => Array.from(crypto.getRandomValues(new Uint8Array(12)), (byte) => byte.toString(16).padStart(2, "0")).join("");
  const inText = (target) => target.closest?.("input, textarea, select, [contenteditable]");

  // The key as it is written on the keyboard: rows of digits differ, their places do not.
  function keyOf(event) {
    const digit = /^(?:Digit|Numpad)([1-9])$/.exec(event.code);
    return digit && !event.key.startsWith("Arrow") ? digit[1] : event.key.toLowerCase();
  }

  class PreferencesVote {
    // ask: {next, vote, undo, stats}, functions that ask the server and give nothing when it is away. onleave: a button leads there;
    // ontrain(set): shown at the end. blind: scores cannot be shown before a vote.
    constructor({ ask, onleave = null, ontrain = null, blind = false }) {
      Object.assign(this, { ask, onleave, ontrain, blind, set: "", items: [], history: [], pressed: [], passed: [], times: [], picks: [], server: { done: 0, total: 0 }, shownAt: null, ended: false });
      this.person = at.load("annotator") ?? "";
      this.order = at.load("vote-order") ?? "unseen";
      this.scoresFirst = false;
      this.stage = new at.VoteStage({ address: (token) => `/file/pref/${encodeURIComponent(this.set)}/${token}`, picked: (side) => this.clicked(side), stacked: (yes) => this.nameSides(yes) });
      this.drawer = new at.VoteDrawer({ blind, order: this.order, close: () => this.drawer.toggle(false), ordered: (name) => this.reorder(name), scoresFirst: (on) => { this.scoresFirst = on; this.begin(); } });
      this.outbox = new at.VoteOutbox({ send: (entry) => this.send(entry), answered: (entry, answer) => this.answered(entry, answer), changed: () => this.draw() });
      this.build();
      this.listen();
    }

    build() {
      const hint = ([name, ...keys]) => h("button", { type: "button", class: "vt-hint", data: { act: name }, onmousedown: (event) => event.preventDefault(), onclick: () => this.act(name) }, keys.map((key) => h("kbd", { text: key })), h("span", { text: t(`voting.${name}`) }));
      this.prompt = h("p", { class: "vt-prompt", dir: "auto" });
      this.name = h("button", { type: "button", class: "vt-person", title: t("voting.name"), onclick: () => this.rename() });
      this.progress = h("span", { class: "vt-progress", role: "progressbar", "aria-label": t("voting.progress") });
      this.count = h("span", { class: "vt-count" });
      this.pace = h("span", { class: "vt-pace" });
      this.late = h("span", { class: "vt-late", role: "status", hidden: true });
      this.message = h("div", { class: "vt-message", hidden: true });
      const leave = this.onleave ? h("button", { type: "button", class: "icon-button vt-leave", title: t("voting.leave"), "aria-label": t("voting.leave"), onclick: () => this.leave() }, h("span", { text: "\u00d7" })) : null;
      this.hints = h("div", { class: "vt-hints" }, h("div", { class: "vt-answers" }, HINTS.map(hint)), h("div", { class: "vt-tools" }, TOOLS.map(hint)));
      this.element = h("section", { class: "at vt", "aria-label": t("voting.title"), hidden: true },
        h("header", { class: "vt-head" }, this.prompt, this.name, leave), h("div", { class: "vt-middle" }, this.stage.element, this.message, this.drawer.element), this.progress,
        h("footer", { class: "vt-foot" }, h("div", { class: "vt-numbers" }, this.count, this.pace, this.late), this.hints));
    }

    // ---------------------------------------------------------------- open and close
    async open(set, { order = this.order } = {}) {
      Object.assign(this, { set, order, times: [] });
      this.drawer.choice.value = order;
      this.element.hidden = false;
      this.person ||= await at.askAnnotator("");
      if (!this.person) return this.leave();
      at.save("annotator", this.person);
      await this.begin();
    }

    close() {
      this.element.hidden = true;
      this.set = "";
      this.stage.clear();
    }

    leave() {
      this.close();
      this.onleave?.();
    }

    // From the beginning of the queue, as the server has it.
    async begin() {
      const turn = (this.turn = (this.turn ?? 0) + 1);
      Object.assign(this, { items: [], history: [], pressed: [], passed: [], picks: [], ended: false, shownAt: null, last: null });
      this.stage.clear();
      this.drawer.show(null);
      this.say("");
      const found = await this.more();
      if (turn !== this.turn || !found) return;
      this.last = found.last;
      this.show();
    }

    async rename() {
      const name = await at.askAnnotator(this.person);
      if (!name || name === this.person) return;
      this.person = name;
      at.save("annotator", name);
      await this.begin();
    }

    reorder(name) {
      this.order = name;
      at.save("vote-order", name);
      this.begin();
    }

    // ---------------------------------------------------------------- what comes
    have() {
      return [...this.items.map(({ key }) => key), ...this.passed, ...this.outbox.entries.filter((entry) => entry.kind === "vote" && entry.set === this.set).map(({ ballot }) => ballot.key)];
    }

    // Asks until there is an answer: the server may just be away.
    async more() {
      for (let pause = 500; this.set; pause = Math.min(2 * pause, 8000)) {
        const asked = this.set;
        const found = await this.ask.next([asked, this.person, this.order, this.have(), this.scoresFirst]);
        if (asked !== this.set) return null;
        if (found?.error) return void this.say(found.error);
        if (found) { this.take(found); return found; }
        this.say(t("voting.away"));
        await new Promise((done) => setTimeout(done, pause));
        if (this.items.length) return null;
      }
      return null;
    }

    take({ items, done, total }) {
      this.server = { done, total };
      const known = new Set(this.have());
      this.items.push(...items.filter(({ key }) => !known.has(key)).slice(0, Math.max(0, HAND - this.items.length)));
      if (this.shownAt !== null || !this.stage.current) this.prepare(); // what is about to be painted comes first
      this.draw();
    }

    // The next pairs are loaded, and the last one is kept for Undo.
    prepare() {
      this.stage.prepare(this.items.slice(0, LAYERS), this.history.slice(-1).map(({ item }) => item));
    }

    get item() {
      return this.items[0] ?? null;
    }

    async show() {
      const { item } = this;
      Object.assign(this, { shownAt: null, picks: [] });
      this.element.removeAttribute("data-seen");
      this.drawPicks();
      this.prompt.textContent = item?.prompt ?? "";
      this.prompt.title = item?.prompt ?? "";
      this.element.dataset.kind = item?.kind ?? "none";
      this.element.toggleAttribute("data-real", Boolean(item?.real));
      this.drawer.showBefore(item);
      if (!item) return this.end();
      this.ended = false;
      this.say("");
      const seen = await this.stage.show(item);
      if (!seen || item !== this.item) return;
      this.shownAt = performance.now();
      this.element.dataset.seen = item.key; // both are painted, and the time of the vote runs
      this.prepare();
      const key = this.pressed.shift(); // pressed before there was anything to see: it counts once there is
      if (key) this.answer(key);
    }

    // Nothing is left at hand: the server may have more, as soon as it has all answers.
    async end() {
      if (this.outbox.waiting) return this.say(t("voting.saving"));
      if (!this.ended) {
        this.ended = true;
        const found = await this.more();
        if (!found || !this.ended) return;
        if (this.items.length) return this.show();
      }
      this.pressed = [];
      const set = this.set;
      const found = await this.ask.stats(set);
      if (set !== this.set || this.item) return;
      const train = this.ontrain && (() => this.ontrain(set));
      this.stage.clear();
      this.say(at.voteSummary(found?.error ? null : found, this.person, { onleave: this.onleave && (() => this.leave()), ontrain: train }));
    }

    // ---------------------------------------------------------------- answers
    clicked(side) {
      if (this.item?.kind === "group") this.pick(Number(side) - 1);
      else this.answer(side);
    }

    act(name) {
      const acts = { undo: () => this.undo(), flicker: () => this.stage.look(this.stage.view === "flicker" ? "" : "flicker"), zoom: () => this.stage.toggleZoom(), difference: () => this.stage.look(this.stage.view === "difference" ? "" : "difference"), reference: () => this.stage.showReference(this.item?.real), drawer: () => this.drawer.toggle(), keys: () => at.voteKeys() };
      (acts[name] ?? (() => this.answer(name)))();
    }

    answer(choice) {
      const { item } = this;
      if (!item) return this.outbox.waiting ? void this.pressed.push(choice) : undefined;
      if (item.kind === "group") return choice === "skip" ? this.passGroup() : undefined;
      if (this.shownAt === null) return void this.pressed.push(choice);
      this.put(item, { choice, left: item.left, open: Boolean(item.scores) });
    }

    // Best and worst of several.
    pick(index) {
      const { item } = this;
      if (item?.kind !== "group" || this.shownAt === null || !item.pictures[index]) return;
      const token = item.pictures[index];
      this.picks = this.picks.includes(token) ? this.picks.filter((one) => one !== token) : [...this.picks, token];
      this.drawPicks();
      if (this.picks.length === 2) this.put(item, { best: this.picks[0], worst: this.picks[1] });
    }

    // A prompt that is passed over comes again when the queue is opened anew.
    passGroup() {
      this.passed.push(this.items.shift().key);
      this.show();
    }

    put(item, ballot) {
      const now = performance.now();
      const id = newId();
      this.times = [...this.times.slice(-60), now];
      this.history.push({ item, id });
      this.items.shift();
      const entry = { kind: "vote", id, set: this.set, person: this.person, order: this.order, ballot: { ...ballot, vote_id: id, key: item.key, ms: Math.round(now - this.shownAt) } };
      this.show(); // first of all: nothing else may hold the next pair up
      this.outbox.add(entry);
    }

    undo() {
      const before = this.history.pop() ?? (this.last?.item ? { item: this.last.item, id: this.last.vote_id } : null);
      this.last = null;
      if (!before) return;
      this.pressed = [];
      this.items = [before.item, ...this.items.filter(({ key }) => key !== before.item.key)];
      this.show();
      this.outbox.add({ kind: "undo", id: before.id, set: this.set, person: this.person, order: this.order });
    }

    send(entry) {
      if (entry.kind === "undo") return this.ask.undo([entry.set, entry.person, entry.id, entry.order]);
      const mine = entry.set === this.set && entry.person === this.person;
      const ballot = { ...entry.ballot, age_s: Math.max(0, (Date.now() - entry.at) / 1000) };
      return this.ask.vote([entry.set, entry.person, ballot, entry.order, mine ? this.have() : []]);
    }

    answered(entry, answer) {
      if (answer.error) at.toast(answer.error, "danger");
      if (entry.set !== this.set || entry.person !== this.person || entry.order !== this.order) return;
      const was = this.item;
      if (entry.kind === "vote") this.drawer.show(answer.behind);
      if (!answer.error) this.take({ items: [], ...answer });
      if (!was) this.show();
    }

    // ---------------------------------------------------------------- what is seen
    draw() {
      const unsaved = this.outbox.entries.filter(({ set, order }) => set === this.set && order === this.order).reduce((sum, { kind }) => sum + (kind === "vote" ? 1 : -1), 0);
      const done = Math.max(0, Math.min(this.server.total, this.server.done + unsaved));
      const share = this.server.total ? done / this.server.total : 0;
      this.progress.style.setProperty("--part", `${100 * share}%`);
      this.progress.setAttribute("aria-valuenow", String(Math.round(100 * share)));
      this.count.textContent = this.server.total ? t("voting.count", { done, total: this.server.total }) : "";
      this.name.textContent = this.person;
      const rate = this.rate();
      this.pace.textContent = rate && done < this.server.total ? t("voting.pace", { n: Math.round(rate), time: at.time((60 * (this.server.total - done)) / rate) }) : "";
      this.late.hidden = !this.outbox.late;
      this.late.textContent = t(this.outbox.late === 1 ? "voting.late_one" : "voting.late", { n: this.outbox.late });
    }

    // Votes a minute, pauses left out; nothing until there are a few.
    rate() {
      const gaps = this.times.slice(1).map((time, index) => (time - this.times[index]) / 1000).filter((gap) => gap <= PAUSE_S);
      const all = gaps.reduce((sum, gap) => sum + gap, 0);
      return gaps.length >= 4 && all ? (60 * gaps.length) / all : null;
    }

    // What is above is not "left".
    nameSides(stacked) {
      if (stacked === this.isStacked) return;
      this.isStacked = stacked;
      const names = stacked ? { left: "voting.upper", right: "voting.lower" } : { left: "voting.left", right: "voting.right" };
      for (const [side, word] of Object.entries(names)) this.hints.querySelector(`[data-act=${side}] span`).textContent = t(word);
    }

    drawPicks() {
      for (const cell of this.stage.current?.cells ?? []) {
        const token = this.stage.current.item.pictures?.[Number(cell.dataset.side) - 1];
        const place = token ? this.picks.indexOf(token) : -1;
        cell.dataset.picked = ["best", "worst"][place] ?? "";
        cell.dataset.word = place < 0 ? "" : t(`voting.${["best", "worst"][place]}`);
      }
    }

    // A sentence or a card in place of the pictures; "" for none.
    say(content) {
      this.message.hidden = !content;
      this.message.replaceChildren(typeof content === "string" ? h("p", { text: content }) : content);
    }

    // ---------------------------------------------------------------- keys
    listen() {
      this.keys?.abort();
      this.keys = new AbortController();
      const options = { signal: this.keys.signal, capture: true };
      window.addEventListener("keydown", (event) => this.onKey(event), options);
      window.addEventListener("keyup", (event) => this.onKeyUp(event), options);
      window.addEventListener("blur", () => this.stage.view === "flicker" && this.held && this.release(), options);
      window.addEventListener("online", () => this.outbox.now(), options);
      setInterval(() => this.element.isConnected && this.draw(), LOOK_MS);
    }

    get visible() {
      return this.set && this.element.getClientRects().length && !document.querySelector("dialog[open]");
    }

    onKey(event) {
      if (!this.visible || event.isComposing || inText(event.target)) return;
      const key = keyOf(event);
      const undoes = key === "z" && (event.ctrlKey || event.metaKey) && !event.shiftKey && !event.altKey;
      if ((event.ctrlKey || event.metaKey || event.altKey) && !undoes) return;
      if (["tab", "enter", "shift"].includes(key)) return; // buttons are reached and pressed with them
      event.preventDefault();
      event.stopImmediatePropagation(); // the page's own keys rest meanwhile
      if (event.repeat) return;
      if (undoes) return this.undo();
      this.press(key);
    }

    press(key) {
      const acts = { u: "undo", z: "zoom", d: "difference", r: "reference", i: "drawer", "?": "keys" };
      if (key === " ") { this.held = true; return this.stage.look("flicker"); }
      if (key === "escape") return this.escape();
      if (acts[key]) return this.act(acts[key]);
      if (this.item?.kind === "group" && /^[1-9]$/.test(key)) return this.pick(Number(key) - 1);
      if (CHOICES[key]) this.answer(CHOICES[key]);
    }

    onKeyUp(event) {
      if (event.key !== " " || !this.held) return;
      event.preventDefault();
      this.release();
    }

    release() {
      this.held = false;
      if (this.stage.view === "flicker") this.stage.look("");
    }

    escape() {
      if (this.stage.leave()) return;
      if (this.picks.length) { this.picks = []; return this.drawPicks(); }
      if (this.drawer.open) return this.drawer.toggle(false);
      if (this.onleave) this.leave();
    }
  }

  at.PreferencesVote = PreferencesVote;
})();
