"use strict";
// The page of lmd serve. It asks its own server alone; files go there one by one, and their names stay here.
const byId = (id) => document.getElementById(id);
const AT_ONCE = 2; // Requests that this page has under way.
const MOST_TRIES = 30;
const USUAL = 0.99; // From this share on an image is called unlike anything seen.
let about = null, token = "", cases = [], shown = 0, moved = null, round = 0, moves = 0;

// Elements.
function make(name, properties = {}, ...children) {
  const made = Object.assign(document.createElement(name), properties);
  made.append(...children);
  return made;
}
const paragraph = (text, kind = "") => make("p", { className: kind }, text);
const list = (node, lines) => node.replaceChildren(...lines.map((line) => make("li", {}, line)));
// A text begins with a capital letter, but for a name such as p_melanoma.
const sentence = (text) => (/^[a-z]_/.test(text) ? text : text.charAt(0).toUpperCase() + text.slice(1)) + (/[.!?]$/.test(text) ? "" : ".");
function say(text) { byId("status").textContent = text; }

// The server.
async function ask(path, options = {}) {
  const headers = { ...(options.headers || {}), ...(token ? { Authorization: `Bearer ${token}` } : {}) };
  for (let tries = 0; ; tries += 1) {
    const answer = await fetch(path, { ...options, headers });
    if (answer.status === 429 && tries < MOST_TRIES) {
      await new Promise((done) => setTimeout(done, 1000 * Number(answer.headers.get("Retry-After") || 1)));
      continue;
    }
    if (answer.status === 401) { askForToken(); throw new Error("a token is needed"); }
    const found = await answer.json().catch(() => ({ error: `the server answered with status ${answer.status}` }));
    if (!answer.ok) throw new Error(found.error);
    return found;
  }
}
function askForToken() {
  byId("token-form").hidden = false;
  byId("asking").hidden = true;
  byId("token").focus();
}
byId("token-form").addEventListener("submit", (event) => {
  event.preventDefault();
  token = byId("token").value.trim();
  byId("token-form").hidden = true;
  start();
});

// The model.
async function start() {
  try { about = await ask("/api/model"); } catch (error) {
    if (byId("token-form").hidden) document.querySelector("main").prepend(paragraph(`The server cannot be asked: ${error.message}.`, "wrong"));
    return;
  }
  byId("asking").hidden = false;
  byId("title").textContent = about.title;
  document.title = `${about.title}: lmd`;
  byId("version").textContent = about.version;
  byId("phantom").hidden = !about.phantom;
  const megabytes = Math.floor(about.limits.bytes / 1e6), pixels = Math.floor(about.limits.pixels / 1e6);
  byId("limits").textContent = `Up to ${megabytes} MB and ${pixels} million pixels each. Files are answered one by one; their names stay in this page.`;
  byId("no-sets").hidden = about.no_sets === null;
  byId("no-sets").textContent = about.no_sets === null ? "" : sentence(about.no_sets);
  byId("coverage").disabled = about.no_sets !== null;
  if (about.no_sets !== null) byId("coverage").value = "";
  showModel();
  showPriors();
}
function showModel() {
  const [head, ...lines] = about.verdict;
  const verdict = make("div", { className: "verdict" }, paragraph(head || "How well it finds each class was not measured: lmd evaluate does."));
  if (lines.length) verdict.append(make("ul", {}, ...lines.map((line) => make("li", {}, line))));
  byId("verdict").replaceChildren(...about.warnings.map((line) => paragraph(sentence(line), "banner")), verdict);
  byId("classes").replaceChildren(...about.classes.map((one) => make("div", {},
    make("h3", {}, one.name),
    paragraph(`${one.band ? `${one.band}; ` : ""}${one.training_images} training images`, "small"),
    ...(one.level ? [paragraph(sentence(one.level), "level")] : []),
    ...one.lines.map((line) => paragraph(line)))));
  const models = about.models > 1 ? [`${about.models} models answer together: the mean of their probabilities. Ranges are from the smallest to the largest of them.`] : [];
  list(byId("offers"), [...models, ...(about.outputs ? [sentence(about.outputs)] : []),
    ...(about.no_unlikeness ? [sentence(about.no_unlikeness)] : []), sentence(about.maps), sentence(about.nearest)]);
}
function showPriors() {
  for (const [value, why] of [["train", about.no_prior], ["uniform", about.no_prior], ["shares", about.no_prior], ["estimate", about.no_estimate]]) {
    byId("prior").querySelector(`[value="${value}"]`).disabled = why !== null;
  }
  byId("prior-notes").textContent = about.no_prior ? sentence(about.no_prior) : "";
  const total = about.classes.reduce((sum, one) => sum + one.training_images, 0) || 1;
  byId("shares").replaceChildren(...about.classes.map((one) => make("label", {}, one.name, " (%) ",
    make("input", { type: "number", min: 0, max: 100, step: "any", value: (100 * one.training_images / total).toFixed(2) }))));
}

// Files in, answers out.
byId("files").addEventListener("change", () => { answer([...byId("files").files]); byId("files").value = ""; });
for (const name of ["dragover", "dragleave", "drop"]) {
  byId("drop").addEventListener(name, (event) => {
    event.preventDefault();
    byId("drop").classList.toggle("over", name === "dragover");
    if (name === "drop") answer([...event.dataTransfer.files]);
  });
}
for (const name of ["dragover", "drop"]) window.addEventListener(name, (event) => event.preventDefault()); // Or the browser would show the file.
function form(one, explain) {
  const made = new FormData();
  made.append("files", new Blob([one.file]), "image"); // Its name may say whose it is.
  made.append("explain", explain);
  if (byId("coverage").value) made.append("sets", byId("coverage").value);
  if (byId("frame").value) made.append("frame", byId("frame").value);
  return made;
}
async function answerOne(one, explain) {
  try {
    const found = await ask("/api/predict", { method: "POST", body: form(one, explain) });
    Object.assign(one, { answer: found.answers[0], notes: found.notes, error: null });
  } catch (error) { one.error = error.message; }
}
async function answer(files) {
  if (!files.length) return;
  const mine = round += 1, waiting = files.map((file) => ({ file, answer: null, error: null, notes: [] }));
  cases = waiting.slice();
  shown = 0;
  moved = null;
  byId("prior").value = "";
  byId("shares").hidden = true;
  let done = 0;
  say(`0 of ${cases.length} answered`);
  const work = async () => {
    while (waiting.length && mine === round) {
      await answerOne(waiting.shift(), files.length === 1);
      done += 1;
      if (mine === round) say(`${done} of ${files.length} answered`);
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, work));
  if (mine !== round) return;
  const bad = cases.filter((one) => one.error).length;
  say(`${done - bad} of ${done} answered${bad ? `, ${bad} cannot be read` : ""}`);
  byId("results").hidden = false;
  show();
  byId("answers-head").focus();
}
byId("forget").addEventListener("click", () => {
  round += 1;
  cases = [];
  moved = null;
  byId("results").hidden = true;
  byId("detail").replaceChildren();
  byId("overview").replaceChildren();
  say("Images and answers are forgotten.");
  byId("files").focus();
});

// Answers.
const good = () => cases.filter((one) => one.answer);
// An answer as it is now: the model's own, or at the shares that are chosen.
function current(one) {
  if (!moved) return one.answer;
  const place = good().indexOf(one), p = moved.probabilities[place];
  const probabilities = Object.fromEntries(about.classes.map((each, k) => [each.name, p[k]]));
  const strange = one.answer.unlike !== null && one.answer.unlike >= USUAL ? one.answer.warnings.slice(0, 1) : [];
  return { ...one.answer, predicted: moved.predicted[place], probabilities, decisions: null, ranges: null, set: null, warnings: [...strange, ...moved.warnings[place]] };
}
function show() {
  byId("overview").hidden = cases.length < 2;
  if (cases.length > 1) byId("overview").replaceChildren(overview());
  showDetail();
  const notes = good().length ? good()[0].notes : [];
  list(byId("notes"), (moved ? [] : notes).map(sentence));
}
function table(caption, head, rows) {
  const top = make("thead", {}, make("tr", {}, ...head.map((text) => make("th", { scope: "col" }, text))));
  const made = make("table", {}, make("caption", {}, make("span", {}, caption)), top, make("tbody", {}, ...rows));
  const scroll = make("div", { className: "scroll", tabIndex: 0 }, made);
  scroll.setAttribute("role", "group");
  scroll.setAttribute("aria-label", caption);
  return scroll;
}
function overview() {
  const rows = cases.map((one, place) => {
    const open = make("button", { type: "button" }, one.file.name);
    open.addEventListener("click", () => { shown = place; explain(); });
    const cells = one.error ? [make("td", { colSpan: 6 }, `not read: ${one.error}`)] : cellsOf(current(one));
    return make("tr", {}, make("th", { scope: "row" }, open), ...cells);
  });
  const made = table("All images", ["file", "answer", "p", "d", "set", "unlike", "warnings"], rows);
  made.classList.add("overview");
  return made;
}
function cellsOf(now) {
  const decision = now.decisions ? now.decisions[now.predicted].toFixed(3) : "-";
  const words = [now.predicted, now.probabilities[now.predicted].toFixed(3), decision, now.set ? now.set.join("; ") : "-",
    now.unlike === null ? "-" : now.unlike.toFixed(3), now.warnings.join(" ") || "-"];
  return words.map((word) => make("td", {}, word));
}
async function explain() {
  const one = cases[shown];
  if (one.answer && !one.answer.explanation) {
    say("Looking at one image again");
    const kept = one.answer;
    await answerOne(one, true);
    if (one.error) { one.error = null; one.answer = kept; say("It could not be looked at again."); } else say("");
  }
  showDetail();
  byId("detail").querySelector("h3").focus();
}
function showDetail() {
  const one = cases[shown];
  if (!one) return;
  const head = make("h3", { tabIndex: -1 }, cases.length > 1 ? one.file.name : "The image");
  if (one.error) {
    byId("detail").replaceChildren(head, paragraph(`It was not answered: ${one.error}.`, "wrong"));
    return;
  }
  const now = current(one);
  byId("detail").replaceChildren(head, paragraph(headline(now), "said"),
    ...now.warnings.map((line) => paragraph(line, "banner")), ...relied(), ...setLine(now), ...measured(now), probabilities(now), looks(now));
}
// The class, with what it was decided by.
function headline(now) {
  const p = now.probabilities[now.predicted].toFixed(3);
  return now.decisions ? `${now.predicted}, decided with d = ${now.decisions[now.predicted].toFixed(3)} (probability p = ${p})` : `${now.predicted}, probability p = ${p}`;
}
// What the model misses is as much a part of an answer as what it says.
function relied() {
  return about.verdict.length ? [paragraph(about.verdict[0], "banner")] : [];
}
function setLine(now) {
  const parts = now.set ? [paragraph(`Prediction set: ${now.set.join(", ")}.`)] : [];
  if (now.unlike !== null) parts.push(paragraph(`It is more unlike what the model has seen than ${(100 * now.unlike).toFixed(0)}% of the validation images.`));
  return parts;
}
function measured(now) {
  const known = about.classes.find((one) => one.name === now.predicted);
  return known.lines.filter((line) => line.startsWith("PPV")).map((line) => paragraph(`On the test images: ${line}`));
}
function probabilities(now) {
  const head = ["class", "p", "", ...(now.decisions ? ["decision d"] : []), ...(now.ranges ? ["range over the models"] : []), ...(now.set ? ["in the set"] : [])];
  const order = about.classes.map((one) => one.name).sort((a, b) => now.probabilities[b] - now.probabilities[a]);
  const rows = order.map((name) => {
    const p = now.probabilities[name], fill = make("span"), bar = make("div", { className: "bar" }, fill);
    fill.style.width = `${(100 * p).toFixed(1)}%`;
    bar.setAttribute("aria-hidden", "true");
    const cells = [p.toFixed(3), bar];
    if (now.decisions) cells.push(now.decisions[name].toFixed(3));
    if (now.ranges) cells.push(now.ranges[name].map((end) => end.toFixed(3)).join(" to "));
    if (now.set) cells.push(now.set.includes(name) ? "yes" : "no");
    const rare = about.classes.find((one) => one.name === name).rare ? " (rare)" : "";
    return make("tr", { className: name === now.predicted ? "first" : "" }, make("th", { scope: "row" }, name + rare), ...cells.map((cell) => make("td", {}, cell)));
  });
  if (head[2] === "") head[2] = "as a bar";
  return table(moved ? "Probabilities at the chosen shares" : "Probabilities", head, rows);
}
function figure(uri, alt, caption, kind = "") {
  const seen = uri ? make("img", { src: uri, alt }) : make("span", { className: "small" }, "no picture is there");
  return make("figure", { className: kind }, seen, make("figcaption", {}, caption));
}
function looks(now) {
  const found = now.explanation;
  if (!found) return paragraph("");
  const near = found.nearest.map((one) => figure(one.picture, `training image of ${one.label}`, `near: ${one.label}, ${one.cosine.toFixed(2)}`, "near"));
  const map = found.map ? [figure(found.map, "map of the places that speak for the answer", "what speaks for the model's own answer (Grad-CAM)")] : [];
  return make("div", {}, make("div", { className: "looks" }, figure(found.picture, "the image as it was read", "the image as it was read"), ...map, ...near),
    ...found.notes.map((line) => paragraph(sentence(line), "small")));
}

// Prevalence.
byId("prior").addEventListener("change", move);
byId("shares").addEventListener("change", move);
byId("prior-form").addEventListener("submit", (event) => { event.preventDefault(); move(); });
function stated() {
  const inputs = [...byId("shares").querySelectorAll("input")].map((one) => Number(one.value) || 0);
  return Object.fromEntries(about.classes.map((one, k) => [one.name, inputs[k] / 100]));
}
async function move() {
  const turn = ++moves; // An answer that comes after that to a later question is not shown.
  const chosen = byId("prior").value, rows = good().map((one) => about.classes.map((each) => one.answer.probabilities[each.name]));
  byId("shares").hidden = chosen !== "shares";
  byId("prior-notes").textContent = "";
  moved = null;
  if (chosen && rows.length) {
    try {
      const body = JSON.stringify({ probabilities: rows, prior: chosen === "shares" ? stated() : chosen });
      const found = await ask("/api/prior", { method: "POST", body, headers: { "Content-Type": "application/json" } });
      if (turn !== moves) return;
      moved = found;
      byId("prior-notes").textContent = [...found.notes, "prediction sets are for the model's own probabilities"].map(sentence).join(" ");
    } catch (error) {
      if (turn !== moves) return;
      byId("prior-notes").textContent = sentence(error.message);
    }
  }
  if (cases.length) show();
}

// CSV. A cell that a spreadsheet would take for a formula gets a quote before it.
function cell(value) {
  const text = String(value), formula = /^'*[=+\-@\t\r\n\uff1d\uff0b\uff0d\uff20]/.test(text) && !/^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$/.test(text);
  const safe = formula ? `'${text}` : text;
  return /[",\r\n]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
}
function csv() {
  const names = about.classes.map((one) => one.name), shifts = good().some((one) => current(one).decisions);
  const head = ["file", "predicted", ...names.map((name) => `p_${name}`), ...(shifts ? names.map((name) => `d_${name}`) : []), "set", "unlike", "warnings", "error"];
  const rows = cases.map((one) => {
    if (!one.answer) return [one.file.name, ...Array(head.length - 2).fill(""), one.error];
    const now = current(one);
    return [one.file.name, now.predicted, ...names.map((name) => now.probabilities[name]), ...(shifts ? names.map((name) => now.decisions[name]) : []),
      now.set ? now.set.join("; ") : "", now.unlike === null ? "" : now.unlike, now.warnings.join(" "), ""];
  });
  return [head, ...rows].map((row) => row.map(cell).join(",")).join("\n") + "\n";
}
byId("csv").addEventListener("click", () => {
  const address = URL.createObjectURL(new Blob([csv()], { type: "text/csv" }));
  make("a", { href: address, download: "answers.csv" }).click();
  setTimeout(() => URL.revokeObjectURL(address), 10000);
});
start();
