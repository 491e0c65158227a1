// What a new caption changed: word for word where the old text is still in it, else one text under the other.
(() => {
  "use strict";
  const at = window.atelier;
  const { t, h } = at;
  // a sign of Chinese or Japanese is a word of its own
  const WORDS = /\s+|[\p{Script=Han}\p{Script=Hiragana}\p{Script=Katakana}]|[\p{L}\p{N}_'\u2019-]+|[^\s]/gu;
  const MOST = 1_000_000; // cells of the table
  const KEPT = [0.75, 0.35]; // share of the old text, or of the longer one, without which a mixture cannot be read

  // [[kind: same, del or ins, text]]; one del and one ins for texts that are too long to compare.
  function wordDiff(before, after) {
    const [old, fresh] = [before.match(WORDS) ?? [], after.match(WORDS) ?? []];
    if (old.length * fresh.length > MOST) return [["del", before], ["ins", after]];
    return joined(walk(old, fresh, common(old, fresh)));
  }

  // Lengths of the longest common subsequences of what is left at each place, row by row.
  function common(old, fresh) {
    const width = fresh.length + 1;
    const table = new Uint16Array((old.length + 1) * width);
    for (let i = old.length - 1; i >= 0; i--) {
      for (let j = fresh.length - 1; j >= 0; j--) {
        table[i * width + j] = old[i] === fresh[j] ? table[(i + 1) * width + j + 1] + 1 : Math.max(table[(i + 1) * width + j], table[i * width + j + 1]);
      }
    }
    return (i, j) => table[i * width + j];
  }

  function walk(old, fresh, left) {
    const steps = [];
    let [i, j] = [0, 0];
    while (i < old.length || j < fresh.length) {
      if (i < old.length && old[i] === fresh[j]) {
        steps.push(["same", old[i]]);
        i++;
        j++;
      } else if (j >= fresh.length || (i < old.length && left(i + 1, j) >= left(i, j + 1))) steps.push(["del", old[i++]]);
      else steps.push(["ins", fresh[j++]]);
    }
    return steps;
  }

  function joined(steps) {
    const runs = [];
    for (const [kind, text] of steps) {
      if (runs.at(-1)?.[0] === kind) runs.at(-1)[1] += text;
      else runs.push([kind, text]);
    }
    return runs;
  }

  const letters = (runs, ...kinds) => runs.filter(([kind]) => kinds.includes(kind)).reduce((sum, [, text]) => sum + text.trim().length, 0);

  // before: the old caption, or null for none; after: the new one, or null for none.
  at.diffBox = (before, after) => {
    const old = (before ?? "").trim();
    const fresh = (after ?? "").trim();
    const box = (...children) => h("div", { class: "cp-diff" }, children);
    const line = (kind, text) => h("p", { class: `cp-diff-${kind}` }, h("b", { text: t(`captioning.${kind}`) }), h("span", { text: text || t("dataset.no_caption") }));
    if (old === fresh) return box(h("p", { class: "muted", text: t("captioning.no_change") }), fresh ? h("p", { text: fresh }) : null);
    if (!old || !fresh) return box(line("before", old), line("after", fresh));
    const runs = wordDiff(old, fresh);
    const [same, ofOld, ofNew] = [letters(runs, "same"), letters(runs, "same", "del"), letters(runs, "same", "ins")];
    if (same < KEPT[0] * ofOld && same < KEPT[1] * Math.max(ofOld, ofNew)) return box(line("before", old), line("after", fresh));
    return box(h("p", {}, runs.map(([kind, text]) => h(kind === "same" ? "span" : kind, { text }))));
  };

  at.wordDiff = wordDiff;
})();
