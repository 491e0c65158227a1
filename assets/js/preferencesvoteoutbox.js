// Answers on their way to the server: one after another, again and again until they are acknowledged.
// Each lies in localStorage meanwhile, under an entry of its own: a reload sends it again, under the same id, and another tab does no harm.
(() => {
  "use strict";
  const at = window.atelier;
  const PREFIX = "atelier-ballot-";
  const FIRST_WAIT_MS = 500;
  const LONGEST_WAIT_MS = 15_000;
  const NO_ANSWER_MS = 20_000;

  function stored() {
    try {
      return Object.keys(localStorage).filter((key) => key.startsWith(PREFIX)).map((key) => JSON.parse(localStorage.getItem(key))).filter(Boolean).sort((one, other) => one.at - other.at);
    } catch { // no storage, or something in it that is not ours
      return [];
    }
  }

  const timeout = (ms) => new Promise((done) => setTimeout(done, ms));

  class VoteOutbox {
    // send(entry): the server's answer, or nothing when it is away. answered(entry, answer), changed(): more or fewer wait.
    constructor({ send, answered, changed }) {
      Object.assign(this, { send, answered, changed, entries: stored(), running: false, failed: 0, wake: () => {} });
      this.last = this.entries.at(-1)?.at ?? 0;
      if (this.entries.length) this.run();
    }

    get waiting() {
      return this.entries.length;
    }

    // Votes that are not where they should be, though they have had their time.
    get late() {
      return this.failed ? this.entries.filter(({ kind }) => kind === "vote").length : 0;
    }

    // kind: vote | undo; id: tells entries apart
    add(entry) {
      this.last = Math.max(Date.now(), this.last + 1); // in the order in which keys were pressed
      const kept = { ...entry, at: this.last };
      this.entries.push(kept);
      at.save(`ballot-${kept.kind}-${kept.id}`, JSON.stringify(kept));
      this.changed();
      return this.run();
    }

    now() {
      this.wake();
    }

    async run() {
      if (this.running) return;
      this.running = true;
      for (let entry = this.entries[0]; entry; entry = this.entries[0]) {
        const answer = await Promise.race([Promise.resolve(this.send(entry)).catch(() => null), timeout(NO_ANSWER_MS)]);
        if (answer) this.settle(entry, answer);
        else await this.rest();
      }
      this.running = false;
    }

    settle(entry, answer) {
      this.entries.shift();
      this.failed = 0;
      try { localStorage.removeItem(`${PREFIX}${entry.kind}-${entry.id}`); } catch { /* it was never there */ }
      this.answered(entry, answer);
      this.changed();
    }

    async rest() {
      this.failed += 1;
      this.changed();
      const pause = Math.min(LONGEST_WAIT_MS, FIRST_WAIT_MS * 2 ** (this.failed - 1));
      await Promise.race([timeout(pause), new Promise((done) => { this.wake = done; })]);
    }
  }

  at.VoteOutbox = VoteOutbox;
})();
