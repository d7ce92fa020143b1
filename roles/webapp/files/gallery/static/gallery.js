// Copyright: samefiles.aws contributors
// SPDX-License-Identifier: GPL-3.0-or-later
// What the page does beyond links and forms: uploads with progress, deleting in place, more without a new page.
"use strict";

const TOGETHER = 3; // uploads at a time
const QUESTIONS = 12; // enough that a balancer asks every server of a small fleet
const COMPARED = 60; // the newest files, as many as a page shows
const SIDE = 480; // pixels of a preview's longer side
const PREVIEW = 64 * 1024; // bytes of a preview at most, as the server has it
const DRAWN = 128 * 1024 * 1024; // bytes of a picture that is drawn here; no camera makes larger ones
const RETRY = 5000; // milliseconds from one look at a storage that is away to the next
const find = (id) => document.getElementById(id);
const form = find("upload");
const grid = find("grid");
const waiting = [];
let running = 0;
let signedIn = null;

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

// the visitor's own clock and words: a time of today, the date of other days
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

// uploads

function refusal(file) {
  if (!words(form.dataset.types).has(extension(file.name))) return "This kind of file is not taken here.";
  if (file.size > Number(form.dataset.most)) return `It is larger than ${sizeText(Number(form.dataset.most))}.`;
  return file.size ? "" : "It is empty.";
}

function add(file) {
  const tile = makeTile(file.name);
  const image = tile.querySelector("img");
  if (image) image.src = URL.createObjectURL(file);
  tile.classList.add("busy");
  tile.querySelector(".frame").removeAttribute("href");
  tile.querySelector(".caption").append(find("progress").content.cloneNode(true));
  const remove = document.createElement("button");
  remove.type = "button";
  remove.className = "remove";
  remove.ariaLabel = `Cancel ${file.name}`;
  remove.append(...tile.querySelector(".remove").childNodes);
  tile.querySelector("progress").ariaLabel = `Upload of ${file.name}`;
  tile.querySelector(".remove").replaceWith(remove);
  const upload = { file, tile, request: null, dropped: false };
  remove.addEventListener("click", () => drop(upload));
  tile.querySelector(".again").addEventListener("click", () => queue(upload));
  grid.prepend(tile);
  showEmpty();
  queue(upload);
}

function drop(upload) {
  upload.dropped = true; // it may be neither waiting nor on its way just now
  if (upload.request) upload.request.abort();
  const place = waiting.indexOf(upload);
  if (place >= 0) waiting.splice(place, 1);
  upload.tile.remove();
  showEmpty();
}

function queue(upload) {
  upload.tile.classList.remove("failed");
  upload.tile.querySelector(".again").hidden = true;
  upload.tile.querySelector("progress").hidden = false;
  upload.tile.querySelector(".facts").textContent = `${sizeText(upload.file.size)} · waiting`;
  const why = refusal(upload.file);
  if (why) { fail(upload, why, false); return; }
  waiting.push(upload);
  next();
}

function next() {
  while (running < TOGETHER && waiting.length) send(waiting.shift());
}

// the password is asked for before the first bytes are sent, not after the last
function ready() {
  if (!form.dataset.signIn) return Promise.resolve(true);
  signedIn ??= fetchHere(form.dataset.signIn, { redirect: "manual" }).then((answer) => {
    if (answer.status !== 401) return true;
    signedIn = null;
    return false;
  }, () => true);
  return signedIn;
}

// A small picture of a picture, for the grid; null for what is small itself, or cannot be drawn here.
async function makePreview(file) {
  if (file.size <= PREVIEW || file.size > DRAWN || !words(form.dataset.images).has(extension(file.name))) return null;
  try {
    const picture = await createImageBitmap(file);
    const scale = Math.min(1, SIDE / Math.max(picture.width, picture.height));
    const canvas = document.createElement("canvas");
    canvas.width = Math.max(1, Math.round(picture.width * scale));
    canvas.height = Math.max(1, Math.round(picture.height * scale));
    const pen = canvas.getContext("2d");
    pen.imageSmoothingQuality = "high";
    pen.drawImage(picture, 0, 0, canvas.width, canvas.height);
    picture.close();
    for (const [type, quality] of [["image/webp", 0.8], ["image/jpeg", 0.8], ["image/jpeg", 0.5]]) {
      if (type === "image/jpeg") { // which knows no transparency
        pen.globalCompositeOperation = "destination-over";
        pen.fillStyle = "#fff";
        pen.fillRect(0, 0, canvas.width, canvas.height);
      }
      const blob = await new Promise((done) => { canvas.toBlob(done, type, quality); });
      // a browser that cannot write a type writes PNG
      if (blob && blob.type === type && blob.size <= PREVIEW) return blob;
    }
  } catch {
    // the browser does not know this kind of picture, or has no memory for it
  }
  return null;
}

async function send(upload) {
  running += 1;
  const allowed = await ready();
  const preview = allowed && !upload.dropped ? await makePreview(upload.file) : null;
  if (allowed && !upload.dropped) await transfer(upload, preview);
  else if (!upload.dropped) fail(upload, "Uploading needs the password.", true);
  running -= 1;
  next();
}

function transfer(upload, preview) {
  return new Promise((done) => {
    const request = upload.request = new XMLHttpRequest();
    const body = new FormData();
    body.append("file", upload.file);
    if (preview) body.append("preview", preview, "preview"); // behind its file
    request.upload.addEventListener("progress", (event) => progress(upload, event.loaded / event.total));
    request.addEventListener("load", () => finish(upload));
    request.addEventListener("error", () => fail(upload, "The connection broke.", true));
    request.addEventListener("loadend", () => { upload.request = null; done(); });
    request.responseType = "json";
    request.open("POST", `${location.origin}/files`);
    request.setRequestHeader("Accept", "application/json");
    request.send(body);
  });
}

function progress(upload, part) {
  const percent = Math.floor(100 * part);
  upload.tile.querySelector("progress").value = percent;
  upload.tile.querySelector(".facts").textContent = percent < 100 ? `${percent} % of ${sizeText(upload.file.size)}` : "being stored";
}

function finish(upload) {
  const { request, tile } = upload;
  if (request.status !== 201) {
    const why = request.response && request.response.error;
    fail(upload, why || `The server answered ${request.status}.`, request.status >= 500 || [408, 429].includes(request.status));
    return;
  }
  const preview = tile.querySelector("img");
  if (preview) URL.revokeObjectURL(preview.src);
  const entry = request.response[0];
  tile.replaceWith(fill(makeTile(entry.name), entry, "just now"));
  const server = request.getResponseHeader("X-Served-By");
  say(`${entry.name} is stored, by ${server}, and on every server at once.`);
}

function fail(upload, why, again) {
  upload.tile.classList.add("failed");
  upload.tile.querySelector("progress").hidden = true;
  upload.tile.querySelector(".again").hidden = !again;
  upload.tile.querySelector(".facts").textContent = why;
  say(`${upload.file.name} was not stored. ${why}`);
}

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
  // the keyboard goes on where it was
  (neighbour ? neighbour.querySelector("a") : find("pick")).focus();
  say(`${name} is deleted, on every server.`);
}

// more of the list

async function more(link) {
  let told;
  try {
    const answer = await fetchHere(`/files${new URL(link.href).search}`, { headers: { Accept: "application/json" } });
    told = await answer.json();
    if (!answer.ok) { say(told.error); return; }
  } catch {
    say("The connection broke while older files were fetched: try again.");
    return;
  }
  const tiles = told.files.map((entry) => fill(makeTile(entry.name), entry, ""));
  grid.append(...tiles);
  if (tiles.length) tiles[0].querySelector("a").focus();
  if (told.next) link.href = `/?after=${told.next}`;
  else link.remove();
}

// comparing the servers

// What each server shows, by its name: the newest files, or why it shows none. The balancer hands the questions round.
async function lists() {
  const shown = new Map();
  await Promise.all(Array.from({ length: QUESTIONS }, async () => {
    const answer = await fetchHere(`/files?limit=${COMPARED}`, { cache: "no-store", headers: { Accept: "application/json" } });
    const told = await answer.json();
    shown.set(answer.headers.get("X-Served-By"), answer.ok ? told.files : told.error);
  }));
  return new Map([...shown].sort());
}

// One sentence, and whether all is well.
function judge(shown) {
  const away = [...shown].find(([, files]) => typeof files === "string");
  if (away) return [`${away[0]}: ${away[1]}`, false];
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
  try {
    let [sentence, well] = judge(await lists());
    // somebody may have uploaded between two answers: what differs twice differs
    if (!well) [sentence, well] = judge(await lists());
    say(sentence);
    button.parentElement.classList.toggle("warns", !well);
  } catch {
    say("The connection broke while the servers were compared.");
  }
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
  for (const kind of ["dragenter", "dragover", "dragleave", "drop"]) {
    document.addEventListener(kind, (event) => {
      event.preventDefault();
      document.body.classList.toggle("dropping", kind === "dragenter" || kind === "dragover");
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
