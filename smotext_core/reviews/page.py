"""A review as one HTML page: no server, no request, the keyboard alone; it writes the CSV.

The rows lie in it as JSON and become text on the page, never markup; the one script that may run
is ours, by its hash.
"""

from __future__ import annotations

import base64
import hashlib
import html
import json
from collections.abc import Sequence

import polars as pl


def review_page(frame: pl.DataFrame, *, run: str, labels: Sequence[str]) -> str:
    """The page of `review_frame`; `labels` are those that a reader may correct one to."""
    rows = json.dumps(frame.to_dicts(), ensure_ascii=False)
    told = {
        "run": run,
        "key": f"smotext review {run} {hashlib.sha256(rows.encode()).hexdigest()[:16]}",
        "labels": list(labels),
        "columns": frame.columns,
        "rows": json.loads(rows),
    }
    data = json.dumps(told, ensure_ascii=False)
    for mark in "<>&\u2028\u2029":  # the end of the script, and of a line
        data = data.replace(mark, f"\\u{ord(mark):04x}")
    allowed = base64.b64encode(hashlib.sha256(_SCRIPT.encode()).digest()).decode()
    return _PAGE.format(
        run=html.escape(run), css=_CSS, script=_SCRIPT, data=data, allowed=f"sha256-{allowed}"
    )


_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy"
 content="default-src 'none'; style-src 'unsafe-inline'; script-src '{allowed}'">
<title>Review of run {run}</title>
<style>{css}</style>
</head>
<body>
<header><h1>Review of run <span dir="auto">{run}</span></h1>
<label>Who reads <input id="reviewer" autocomplete="name" maxlength="80"></label>
<button id="save">Save CSV (s)</button></header>
<progress id="bar" value="0" max="1"></progress>
<main>
<p id="told" aria-live="polite"></p>
<article><p id="label" dir="auto"></p><p id="text" dir="auto"></p><div id="parents"></div></article>
<p id="buttons"><button id="keep">Keep (k)</button><button id="drop">Drop (d)</button>
<label>or its label is (l) <select id="corrected"></select></label>
<button id="clear">Undo (u)</button></p>
<p id="moves"><button id="back">← Back</button><span id="place"></span>
<button id="next">Next →</button></p>
</main>
<script type="application/json" id="data">{data}</script>
<script>{script}</script>
</body>
</html>
"""

_SCRIPT = """
"use strict";
const data = JSON.parse(document.getElementById("data").textContent);
const at = (id) => document.getElementById(id);
let verdicts = {}, here = 0;
for (const row of data.rows)
  if (row.verdict || row.corrected_label)
    verdicts[row.sample_id] = {verdict: row.verdict, corrected_label: row.corrected_label,
      reviewer: row.reviewer, reviewed_at: row.reviewed_at};
try {
  const kept = JSON.parse(localStorage.getItem(data.key) || "{}");
  Object.assign(verdicts, kept.verdicts || {});
  at("reviewer").value = kept.reviewer || "";
} catch (error) { at("told").textContent = "This browser keeps nothing: save before you close."; }
for (const label of ["", ...data.labels]) {
  const option = document.createElement("option");
  option.value = label; option.textContent = label || "\\u2013";
  at("corrected").append(option);
}
function remember() {
  try {
    localStorage.setItem(data.key, JSON.stringify({verdicts, reviewer: at("reviewer").value}));
  } catch (error) { at("told").textContent = "This browser keeps nothing: save before you close."; }
}
function told(id) {
  const found = verdicts[id];
  if (!found || found.verdict === "undecided") return "";
  return found.corrected_label ? "relabel" : found.verdict;
}
function show() {
  const row = data.rows[here], done = data.rows.filter((r) => told(r.sample_id)).length;
  at("bar").max = Math.max(data.rows.length, 1); at("bar").value = done;
  at("place").textContent = `${here + 1} of ${data.rows.length}, ${done} read`;
  if (!row) { at("told").textContent = "There are no rows to read."; return; }
  const verdict = told(row.sample_id);
  document.body.className = verdict;
  at("label").textContent = row.label; at("text").textContent = row.text;
  at("parents").textContent = row.parents;
  at("corrected").value = (verdicts[row.sample_id] || {}).corrected_label || "";
  at("told").textContent = verdict === "relabel" ? "Label corrected." :
    verdict === "keep" ? "Kept." : verdict === "drop" ? "Dropped." :
    verdicts[row.sample_id] ? "Taken back." : "";
}
function move(by) {
  here = Math.min(Math.max(here + by, 0), Math.max(data.rows.length - 1, 0)); show();
}
function say(row, verdict, corrected_label) {
  verdicts[row.sample_id] = {verdict, corrected_label, reviewer: at("reviewer").value.trim(),
    reviewed_at: new Date().toISOString()};
  remember();
}
function judge(verdict, corrected_label) {
  const row = data.rows[here];
  if (row) { say(row, verdict, corrected_label || ""); move(1); }
}
function clear() {
  const row = data.rows[here];
  if (!row) return;
  if (row.verdict || row.corrected_label) say(row, "undecided", "");  // empty would change nothing
  else { verdicts[row.sample_id] = null; remember(); }
  show();
}
function cell(value) {
  let text = value === null || value === undefined ? "" : String(value);
  if (typeof value === "string" && /^'*[=+\\-@\\t\\r]/.test(text)) text = "'" + text;
  return /[",\\r\\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}
function csv() {
  const none = {verdict: "", corrected_label: "", reviewer: "", reviewed_at: ""};
  const lines = data.rows.map((row) => {
    const found = verdicts[row.sample_id] || none, name = at("reviewer").value.trim();
    const who = found.verdict || found.corrected_label ? found.reviewer || name : "";
    const full = {...row, ...none, ...found, reviewer: who};
    return data.columns.map((column) => cell(full[column])).join(",");
  });
  return "\\ufeff" + [data.columns.join(","), ...lines].join("\\n") + "\\n";
}
function save() {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([csv()], {type: "text/csv;charset=utf-8"}));
  link.download = `review-${data.run}.csv`; link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
  at("told").textContent = at("reviewer").value.trim() ? "Saved." :
    "Saved. It does not say who read the rows.";
}
at("keep").onclick = () => judge("keep"); at("drop").onclick = () => judge("drop");
at("clear").onclick = clear; at("save").onclick = save; at("reviewer").onchange = remember;
at("back").onclick = () => move(-1); at("next").onclick = () => move(1);
at("corrected").onchange = () => {
  const label = at("corrected").value; at("corrected").blur();
  if (label) judge("", label); else clear();
};
document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.target.matches("input,select")) {
    if (event.key === "Escape" || (event.key === "Enter" && event.target.matches("input")))
      event.target.blur();
    return;
  }
  const does = {k: () => judge("keep"), d: () => judge("drop"), u: clear, s: save,
    l: () => at("corrected").focus(), ArrowLeft: () => move(-1), ArrowRight: () => move(1),
    ArrowUp: () => move(-1), ArrowDown: () => move(1)}[event.key];
  if (does) { event.preventDefault(); does(); }
});
here = Math.max(data.rows.findIndex((row) => !told(row.sample_id)), 0);
show();
"""

_CSS = """
:root{color-scheme:light;--ink:#1f2937;--soft:#55616e;--line:#dde3e9;--page:#f6f7f9;--blue:#1f5f8b;
--good:#1a6b50;--bad:#a63c0f}
*{box-sizing:border-box}
body{margin:0;background:var(--page);color:var(--ink);
font:17px/1.6 system-ui,-apple-system,"Segoe UI",Roboto,"Helvetica Neue",sans-serif}
header,main{max-width:54rem;margin:0 auto;padding:1rem 1.25rem}
header{display:flex;flex-wrap:wrap;gap:.75rem 1.5rem;align-items:center}
h1{font-size:1.3rem;margin:0;flex:1 1 16rem;overflow-wrap:anywhere}
progress{display:block;width:100%;height:.4rem;accent-color:var(--blue)}
article{background:#fff;border:1px solid var(--line);border-left:6px solid var(--line);
border-radius:10px;padding:1.1rem 1.3rem;overflow-wrap:anywhere}
.keep article,.relabel article{border-left-color:var(--good)}
.drop article{border-left-color:var(--bad)}
#told{min-height:1.6em;margin:0 0 .5rem;color:var(--soft)}
#label{margin:0;color:var(--blue);font-weight:600}
#text{margin:.4rem 0 1rem;font-size:1.15rem;white-space:pre-wrap}
#parents{color:var(--soft);font-size:.9rem;white-space:pre-wrap;border-top:1px solid var(--line);
padding-top:.6rem}#parents:empty{display:none}
#buttons,#moves{display:flex;flex-wrap:wrap;gap:.6rem 1rem;align-items:center}
#moves{justify-content:space-between;color:var(--soft);font-variant-numeric:tabular-nums}
button,input,select{font:inherit;padding:.45rem .9rem;border:1px solid #8c97a3;border-radius:8px;
background:#fff;color:inherit;max-width:100%}
button:focus-visible,input:focus-visible,select:focus-visible{outline:3px solid var(--blue)}
#keep{border-color:var(--good);color:var(--good)}#drop{border-color:var(--bad);color:var(--bad)}
"""
