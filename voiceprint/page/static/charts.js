// Pictures of numbers, as SVG that is drawn anew where its place changes its width.
// Each has a table or words beside it that say the same.
import { el } from "/pane/dom.js";
import { nats, percent, seconds } from "./page.js";
import { t } from "./strings.js";

const height = 240;
const space = { left: 60, right: 14, top: 12, bottom: 40 };

function svg(tag, attrs, ...children) {
  const e = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [k, v] of Object.entries(attrs)) e.setAttribute(k, v);
  e.append(...children);
  return e;
}

const text = (x, y, words, kind, anchor = "middle") => svg("text", { x, y, class: kind, "text-anchor": anchor }, words);
const line = (x1, y1, x2, y2, kind) => svg("line", { x1, y1, x2, y2, class: kind });

// chart is a place of fixed height in which draw(width) puts the nodes of a picture.
function chart(label, draw) {
  const place = el("div", { class: "chart", role: "img", "aria-label": label });
  new ResizeObserver((all) => {
    const width = Math.round(all[0].contentRect.width);
    if (width < 80) return;
    place.replaceChildren(svg("svg", { viewBox: `0 0 ${width} ${height}`, width, height, "aria-hidden": "true" }, ...draw(width)));
  }).observe(place);
  return place;
}

// frame is the axes with ticks: x and y map a value to its place.
function frame(width, xs, ys, x, y, nameX, nameY, sayX, sayY) {
  const bottom = height - space.bottom, right = width - space.right;
  return [
    ...xs.flatMap((v) => [line(x(v), space.top, x(v), bottom, "grid"), text(x(v), bottom + 15, sayX(v), "tick")]),
    ...ys.flatMap((v) => [line(space.left, y(v), right, y(v), "grid"), text(space.left - 6, y(v) + 4, sayY(v), "tick", "end")]),
    text((space.left + right) / 2, height - 6, nameX, "axis"),
    svg("text", { x: 12, y: (space.top + bottom) / 2, class: "axis", "text-anchor": "middle", transform: `rotate(-90 12 ${(space.top + bottom) / 2})` }, nameY),
  ];
}

// probit is the quantile of the normal distribution: Abramowitz and Stegun, Handbook
// of Mathematical Functions, 26.2.23, right to 0.0005.
export function probit(p) {
  if (p > 0.5) return -probit(1 - p);
  const u = Math.sqrt(-2 * Math.log(p));
  return (2.515517 + u * (0.802853 + u * 0.010328)) / (1 + u * (1.432788 + u * (0.189269 + u * 0.001308))) - u;
}

const shares = [0.00001, 0.00002, 0.00005, 0.0001, 0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.4];

// det is the trade between accepting others and refusing callers (Martin and others,
// The DET Curve in Assessment of Detection Task Performance, 1997). Where none of the
// callers was refused the true share is below what the calls could show: such points
// lie on the floor, half of one call.
export function det(c) {
  const floor = 0.5 / c.targets;
  const points = [...c.points].sort((a, b) => b.false_accepts - a.false_accepts);
  const all = [...points, c.in_use];
  const range = (values) => [probit(Math.min(...values) * 0.8), probit(Math.min(0.45, Math.max(...values) * 1.6))];
  const [fromX, toX] = range(all.map((p) => p.false_accepts));
  const [fromY, toY] = range(all.map((p) => Math.max(p.false_rejects, floor)));
  const inside = (from, to) => shares.filter((s) => probit(s) >= from && probit(s) <= to);
  return chart(t("detLabel", { n: points.length, far: percent(c.in_use.false_accepts), frr: percent(c.in_use.false_rejects) }), (width) => {
    const x = (s) => space.left + ((probit(s) - fromX) / (toX - fromX)) * (width - space.left - space.right);
    const y = (s) => height - space.bottom - ((probit(Math.max(s, floor)) - fromY) / (toY - fromY)) * (height - space.top - space.bottom);
    const xs = inside(fromX, toX);
    const at = (p) => `${x(p.false_accepts)},${y(p.false_rejects)}`;
    const seen = points.filter((p) => p.false_rejects > 0), none = points.filter((p) => p.false_rejects === 0);
    const use = c.in_use, ux = x(use.false_accepts), uy = y(use.false_rejects);
    const left = ux > width * 0.6;
    return [
      ...frame(width, width < 420 ? xs.filter((_, i) => i % 2 === 0) : xs, inside(fromY, toY), x, y, t("far"), t("frr"), percent, percent),
      svg("polyline", { class: "curve unsure", points: [...none, ...seen.slice(0, 1)].map(at).join(" ") }),
      svg("polyline", { class: "curve", points: seen.map(at).join(" ") }),
      ...none.map((p) => svg("path", { class: "below", d: `M${x(p.false_accepts) - 4},${y(0) - 4}h8l-4,7z` })),
      ...seen.map((p) => svg("circle", { class: "dot", cx: x(p.false_accepts), cy: y(p.false_rejects), r: 3 })),
      svg("circle", { class: "use", cx: ux, cy: uy, r: 7 }),
      text(left ? ux - 12 : ux + 12, uy - 8, t("inUse"), "mark", left ? "end" : "start"),
    ];
  });
}

// steps are round values from low to high, some so many.
function steps(low, high, about) {
  const rough = (high - low) / about, ten = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((m) => m * ten).find((s) => s >= rough);
  const out = [];
  for (let v = Math.ceil(low / step) * step; v <= high + step / 1e6; v += step) out.push(v);
  return out;
}

// scores is the evidence of a comparison over the speech that it rests on, against
// the thresholds.
export function scores(c) {
  const looks = c.looks?.length ? c.looks : [{ net_ms: c.net_ms, llr: c.llr }];
  const far = Math.max(5000, ...looks.map((l) => l.net_ms)) * 1.04;
  const accepts = looks.map((l) => l.accept || c.accept);
  const values = [...looks.map((l) => l.llr), ...accepts, c.reject, 0];
  const pad = 0.12 * (Math.max(...values) - Math.min(...values));
  const low = Math.min(...values) - pad, high = Math.max(...values) + pad;
  const last = looks.at(-1);
  return chart(t("scoresLabel", { n: looks.length, llr: nats(last.llr), s: seconds(last.net_ms), accept: nats(c.accept), reject: nats(c.reject) }), (width) => {
    const right = width - space.right, bottom = height - space.bottom;
    const x = (ms) => space.left + (ms / far) * (right - space.left);
    const y = (v) => bottom - ((v - low) / (high - low)) * (bottom - space.top);
    // The threshold of a match falls with the speech: it is known at each look.
    const edge = [[space.left, y(accepts[0])], ...looks.map((l, i) => [x(l.net_ms), y(accepts[i])]), [right, y(accepts.at(-1))]];
    const fallen = nats(accepts[0]) !== nats(accepts.at(-1));
    const path = (list) => list.map((p) => p.join(",")).join(" ");
    return [
      svg("polygon", { class: "zone match", points: path([[space.left, space.top], ...edge, [right, space.top]]) }),
      svg("rect", { class: "zone mismatch", x: space.left, y: y(c.reject), width: right - space.left, height: Math.max(0, bottom - y(c.reject)) }),
      ...frame(width, steps(0, far / 1000, width < 420 ? 5 : 9).map((s) => s * 1000), steps(low, high, 5), x, y, t("netAxis"), t("llrAxis"), (ms) => String(ms / 1000), (v) => String(Math.round(v * 10) / 10)),
      svg("polyline", { class: "border match", points: path(edge) }), text(space.left + 6, y(accepts[0]) - 5, fallen ? t("acceptFalls", { llr: nats(accepts[0]), last: nats(accepts.at(-1)) }) : t("acceptLine", { llr: nats(accepts[0]) }), "mark match", "start"),
      line(space.left, y(c.reject), right, y(c.reject), "border mismatch"), text(space.left + 6, y(c.reject) + 14, t("rejectLine", { llr: nats(c.reject) }), "mark mismatch", "start"),
      svg("polyline", { class: "curve", points: path(looks.map((l) => [x(l.net_ms), y(l.llr)])) }),
      ...looks.map((l) => svg("circle", { class: "dot", cx: x(l.net_ms), cy: y(l.llr), r: 3 })),
      svg("circle", { class: "use", cx: x(last.net_ms), cy: y(last.llr), r: 7 }),
    ];
  });
}
