// Copyright: samefiles.aws contributors
// SPDX-License-Identifier: GPL-3.0-or-later
// Uploads: their queue, their tiles and previews, and the transfer through the app. The transfer straight to S3 is in tickets.js.
"use strict";

const TOGETHER = 3; // uploads at a time
const SIDE = 480; // pixels of a preview's longer side
const PREVIEW = 64 * 1024; // bytes of a preview at most, as the server has it
const DRAWN = 128 * 1024 * 1024; // bytes of a picture that is drawn here; no camera makes larger ones
const maySucceed = (status) => status >= 500 || [408, 429].includes(status); // when it is tried again
const waiting = [];
let running = 0;
let signedIn = null;

function refusal(file) {
  if (!words(form.dataset.types).has(extension(file.name))) return "This type of file is not accepted here.";
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
  const upload = { file, tile, request: null, dropped: false, inS3: "", gone: false };
  remove.addEventListener("click", () => drop(upload));
  tile.querySelector(".again").addEventListener("click", () => queue(upload));
  grid.prepend(tile);
  showEmpty();
  queue(upload);
}

function drop(upload) {
  upload.dropped = true; // it may be neither waiting nor being sent just now
  if (upload.request) upload.request.abort();
  else if (upload.asked) withdraw(upload);
  const place = waiting.indexOf(upload);
  if (place >= 0) waiting.splice(place, 1);
  upload.tile.remove();
  showEmpty();
}

function queue(upload) {
  upload.gone = false;
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
    // the browser does not know this type of picture, or has no memory for it
  }
  return null;
}

async function send(upload) {
  running += 1;
  const allowed = await ready();
  const preview = allowed && !upload.dropped ? await makePreview(upload.file) : null;
  if (allowed && !upload.dropped) await (form.dataset.tickets ? straight : transfer)(upload, preview);
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
    request.addEventListener("load", () => answered(upload));
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

function answered(upload) {
  const { request } = upload;
  if (request.status !== 201) {
    const why = request.response && request.response.error;
    fail(upload, why || `The server answered ${request.status}.`, maySucceed(request.status));
    return;
  }
  const entry = request.response[0];
  const server = request.getResponseHeader("X-Served-By");
  finish(upload, entry, `${entry.name} is stored, by ${server}, and on every server at once.`);
}

function finish(upload, entry, said) {
  const preview = upload.tile.querySelector("img");
  if (preview) URL.revokeObjectURL(preview.src);
  upload.tile.replaceWith(fill(makeTile(entry.name), entry, "just now"));
  say(said);
}

function fail(upload, why, again) {
  upload.tile.classList.add("failed");
  upload.tile.querySelector("progress").hidden = true;
  upload.tile.querySelector(".again").hidden = !again;
  upload.tile.querySelector(".again").textContent = upload.gone ? "Upload again" : "Try again";
  upload.tile.querySelector(".facts").textContent = why;
  say(`${upload.file.name}${upload.inS3 || upload.gone ? ":" : " was not stored."} ${why}`);
}
