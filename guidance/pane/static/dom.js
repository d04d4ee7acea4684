// Building the page. Text goes in as text nodes only.

export const $ = (id) => document.getElementById(id);

// el makes an element: attributes starting with "on" are listeners, true is an
// attribute without value, false and null are left out; children are nodes or
// strings.
export function el(tag, attrs = {}, ...children) {
  const e = document.createElement(tag);
  for (const [k, v] of Object.entries(attrs)) {
    if (v === false || v === null || v === undefined) continue;
    if (k.startsWith("on")) e.addEventListener(k.slice(2), v);
    else e.setAttribute(k, v === true ? "" : v);
  }
  e.append(...children.filter((c) => c !== null && c !== undefined));
  return e;
}

// arrange makes the children of parent the given ones in the given order. It
// moves nothing that stands right already, so that focus stays.
export function arrange(parent, want) {
  const keep = new Set(want);
  for (const c of [...parent.children]) if (!keep.has(c)) c.remove();
  want.forEach((c, i) => {
    if (parent.children[i] !== c) parent.insertBefore(c, parent.children[i] ?? null);
  });
}

const wide = /[\u2e80-\u30ff\u3400-\u9fff\uac00-\ud7a3\uf900-\ufaff\uff00-\uffef]/;

// gap is what stands between two words: nothing between Chinese or Japanese
// ones, else a space.
export function gap(before, after) {
  return wide.test(before.at(-1) ?? "") && wide.test(after[0] ?? "") ? "" : " ";
}

// clock shows milliseconds as m:ss or h:mm:ss.
export function clock(ms) {
  const s = Math.max(0, Math.floor(ms / 1000));
  const two = (n) => String(n).padStart(2, "0");
  const h = Math.floor(s / 3600), m = Math.floor(s / 60) % 60;
  return h > 0 ? `${h}:${two(m)}:${two(s % 60)}` : `${m}:${two(s % 60)}`;
}
