// Copyright: samefiles.aws contributors
// SPDX-License-Identifier: GPL-3.0-or-later
// What the page does beyond links and forms: deleting in place, more without a new page, comparing the servers. Uploads are in
// uploads.js and tickets.js.
"use strict";

const QUESTIONS = 12; // enough that a balancer asks every server of a small fleet
const COMPARED = 60; // the newest files, as many as a page shows
const RETRY = 5000; // milliseconds from one check of a storage that is unavailable to the next
const find = (id) => document.getElementById(id);
const form = find("upload");
const grid = find("grid");

const say = (text) => { find("said").textContent = text; };
// whole addresses: beside a page address with a password in it, browsers refuse relative ones
const fetchHere = (path, options) => fetch(location.origin + path, options);
const words = (text) => new Set(text.split(" "));
const extension = (name) => (name.includes(".") ? name.split(".").pop().toLowerCase() : "");

function sizeText(size) {
  if (size === 1) return "1 byte";
  const units = ["bytes", "kB", "MB", "GB", "TB"];
  while (size >= 999.5 && units.length > 1) { size /= 1000; units.shift(); }
  return `${size.toFixed(size < 9.95 && units[0] !== "bytes" ? 1 : 0)} ${units[0]}`;
}

// the visitor's own clock and language: a time of today, the date of other days
function localTime(time) {
  const then = new Date(time.dateTime);
  const today = then.toDateString() === new Date().toDateString();
  time.title = then.toLocaleString();
  time.textContent = today ? then.toLocaleTimeString(undefined, { timeStyle: "short" }) : then.toLocaleDateString(undefined, { dateStyle: "medium" });
}

function makeTile(name) {
  const image = words(form.dataset.images).has(extension(name));
  const tile = find(image ? "image-tile" : "paper-tile").content.firstElementChild.cloneNode(true);
  tile.querySelector(".name").textContent = tile.querySelector(".name").title = name;
  if (!image) tile.querySelector(".paper").textContent = extension(name);
  return tile;
}

// When a file was stored: by the clock, or in a word.
function timeOf(entry, word) {
  const time = document.createElement("time");
  time.dateTime = entry.time;
  localTime(time);
  if (word) time.textContent = word;
  return time;
}

function fill(tile, entry, word) {
  tile.dataset.key = entry.key;
  tile.querySelector(".name").textContent = tile.querySelector(".name").title = entry.name;
  const frame = tile.querySelector(".frame");
  frame.href = `/view/${entry.key}`;
  frame.ariaLabel = entry.name;
  tile.querySelector(".facts").replaceChildren(sizeText(entry.size), timeOf(entry, word));
  const remove = tile.querySelector(".remove");
  remove.href = `/view/${entry.key}/delete`;
  remove.ariaLabel = `Delete ${entry.name}`;
  const image = tile.querySelector("img");
  if (image) { image.src = `/thumbs/${entry.key}`; image.alt = entry.name; }
  return tile;
}

function showEmpty() { find("empty").hidden = grid.childElementCount > 0; }

// deleting

function confirmDelete(tile) {
  const ask = find("ask");
  ask.querySelector(".what").textContent = tile.querySelector(".name").textContent;
  // not by the event "close": it comes late, when the question may be about another tile already
  ask.querySelector(".danger").onclick = () => erase(tile);
  ask.showModal();
}

async function erase(tile) {
  const name = tile.querySelector(".name").textContent;
  try {
    const answer = await fetchHere(`/files/${tile.dataset.key}`, { method: "DELETE", headers: { Accept: "application/json" } });
    if (!answer.ok && answer.status !== 404) throw new Error((await answer.json()).error);
  } catch (fault) {
    say(`${name} was not deleted. ${fault.message}`);
    return;
  }
  const neighbour = tile.nextElementSibling || tile.previousElementSibling;
  tile.remove();
  showEmpty();
  // the keyboard focus stays where it was
  (neighbour ? neighbour.querySelector("a") : find("pick")).focus();
  say(`${name} is deleted, on every server.`);
}

// more of the list

async function more(link) {
  if (link.ariaBusy) return; // two quick clicks ask once
  link.ariaBusy = "true";
  let page;
  try {
    const answer = await fetchHere(`/files${new URL(link.href).search}`, { headers: { Accept: "application/json" } });
    page = await answer.json();
    if (!answer.ok) { say(page.error); return; }
  } catch {
    say("The connection broke while older files were fetched: try again.");
    return;
  } finally {
    link.ariaBusy = null;
  }
  const shown = new Set([...grid.children].map((tile) => tile.dataset.key));
  const tiles = page.files.filter((entry) => !shown.has(entry.key)).map((entry) => fill(makeTile(entry.name), entry, ""));
  grid.append(...tiles);
  if (tiles.length) tiles[0].querySelector("a").focus();
  if (page.next) link.href = `/?after=${page.next}`;
  else link.remove();
}

// comparing the servers

// What each server shows, by its name: the newest files, or why it shows none. The balancer distributes the requests.
async function lists() {
  const shown = new Map();
  await Promise.all(Array.from({ length: QUESTIONS }, async () => {
    const answer = await fetchHere(`/files?limit=${COMPARED}`, { cache: "no-store", headers: { Accept: "application/json" } });
    const body = await answer.json();
    shown.set(answer.headers.get("X-Served-By"), answer.ok ? body.files : body.error);
  }));
  return new Map([...shown].sort());
}

// One sentence, and whether all is well.
function judge(shown) {
  const failed = [...shown].find(([, files]) => typeof files === "string");
  if (failed) return [`${failed[0]}: ${failed[1]}`, false];
  const names = [...shown.keys()];
  const all = new Map([...shown.values()].flat().map((entry) => [entry.key, entry.name]));
  for (const [server, files] of shown) {
    const missing = [...all.keys()].filter((key) => !files.some((entry) => entry.key === key));
    if (missing.length) return [`${server} does not show ${all.get(missing[0])}${missing.length > 1 ? ` and ${missing.length - 1} more` : ""}.`, false];
  }
  if (names.length === 1) return [`Only ${names[0]} answered ${QUESTIONS} questions: there is no other server to compare it with.`, true];
  const count = all.size === 1 ? "the same file" : `the same ${all.size} files`;
  return [`${names.slice(0, -1).join(", ")} and ${names.at(-1)} show ${all.size ? count : "no files, all of them"}.`, true];
}

async function compare(button) {
  button.disabled = true;
  say("Asking all servers…");
  let sentence, well;
  // somebody may have uploaded between two answers, or the visitor's network have changed: what is wrong twice is wrong
  for (let turn = 0; turn < 2 && !well; turn += 1) {
    try {
      [sentence, well] = judge(await lists());
    } catch {
      [sentence, well] = ["The connection broke while the servers were compared.", undefined];
    }
  }
  say(sentence);
  if (well !== undefined) button.parentElement.classList.toggle("warns", !well);
  button.disabled = false;
}

function start() {
  const button = find("compare");
  button.hidden = false;
  button.addEventListener("click", () => compare(button));
  find("pick").addEventListener("change", (event) => {
    for (const file of [...event.target.files].reverse()) add(file);
    event.target.value = "";
  });
  grid.addEventListener("click", (event) => {
    const remove = event.target.closest("a.remove");
    if (!remove || event.ctrlKey || event.metaKey) return;
    event.preventDefault();
    confirmDelete(remove.closest(".tile"));
  });
  const link = find("more");
  if (link) link.addEventListener("click", (event) => { event.preventDefault(); more(link); });
  for (const type of ["dragenter", "dragover", "dragleave", "drop"]) {
    document.addEventListener(type, (event) => {
      event.preventDefault();
      document.body.classList.toggle("dropping", type === "dragenter" || type === "dragover");
    });
  }
  document.addEventListener("drop", (event) => { for (const file of event.dataTransfer.files) add(file); });
  window.addEventListener("beforeunload", (event) => { if (running) event.preventDefault(); });
  document.querySelectorAll("time").forEach(localTime);
}

async function watch() {
  const answer = await fetchHere("/readyz").catch(() => null);
  if (answer && answer.ok) location.reload();
  else setTimeout(watch, RETRY);
}

if (form) start();
else setTimeout(watch, RETRY);
