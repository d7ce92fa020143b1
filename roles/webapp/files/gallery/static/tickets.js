// Copyright: samefiles.aws contributors
// SPDX-License-Identifier: GPL-3.0-or-later
// Uploads straight to S3: a server gives a ticket, S3 stores the file, a server checks it there and lists it.
"use strict";

const HASHED = 128 * 1024 * 1024; // bytes of a file whose SHA-256 is computed here: it has to be in memory for that
const WAITS = [1000, 3000, 9000]; // milliseconds before each further try
// the same, before each further check of what was cancelled: together longer than a server waits for S3
const BACK = [1000, 3000, 9000, 27000, 81000];
const LONGEST = 30000; // milliseconds that a server may ask us to wait for; for more, people decide
const PATIENCE = 5000; // milliseconds for an answer, whatever it is
const LEFT = 10000; // milliseconds that a ticket must be good for when it is used again
const REFUSALS = 2; // by S3, after which a new ticket does not help either
const BROKE = "The connection to S3 broke.";
const LOST = "The connection to the server broke.";
let stall = 60000; // milliseconds without a byte after which a connection to S3 is given up
let hashing = Promise.resolve();

class Trouble extends Error {
  // passes: it is worth trying again, but not before so many milliseconds; again: a person may
  constructor(why, passes, again = passes, before = 0) {
    super(why);
    this.passes = passes;
    this.again = again;
    this.before = before;
  }
}

// Ask a server to make something; its answer, and its name.
async function ask(path, body, signal) {
  const answer = await fetchHere(path, { method: "POST", body, signal, headers: { Accept: "application/json" } }).catch(() => null);
  if (!answer) throw new Trouble(LOST, true);
  const result = await answer.json().catch(() => null);
  if (answer.status === 201 && result) return [result, answer.headers.get("X-Served-By")];
  throw refused(answer, result);
}

// What is wrong with an answer of a server.
function refused(answer, result) {
  const before = 1000 * (Number(answer.headers.get("Retry-After")) || 0);
  const may = maySucceed(answer.status) || answer.ok; // a good answer that came in half
  const why = (result && result.error) || `The server answered ${answer.status}.`;
  const trouble = new Trouble(why, may && before <= LONGEST, may || [401, 403].includes(answer.status), before);
  trouble.status = answer.status;
  // the app's own answer to the request; a balancer's may hide that the request was done
  trouble.heard = Boolean(result && result.error) || (answer.status >= 400 && answer.status < 500);
  return trouble;
}

// The SHA-256 of a file for S3 to compare with; "" where it cannot be had. One file at a time is in memory.
function digest(upload) {
  const { file } = upload;
  if (!window.crypto.subtle || file.size > HASHED) return "";
  hashing = hashing.then(async () => {
    if (upload.dropped) return "";
    const bytes = new Uint8Array(await crypto.subtle.digest("SHA-256", await file.arrayBuffer()));
    return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
  }).catch(() => "");
  return hashing;
}

async function takeTicket(upload) {
  const { file } = upload;
  upload.tile.querySelector(".facts").textContent = `${sizeText(file.size)} · getting ready`;
  upload.sha256 ||= await digest(upload);
  const wanted = { name: file.name, size: file.size, type: file.type };
  if (upload.sha256) wanted.sha256 = upload.sha256;
  const [ticket] = await ask(form.dataset.tickets, JSON.stringify(wanted), upload.request.signal);
  upload.ticket = ticket;
  upload.until = Date.now() + 1000 * ticket.expires - LEFT;
}

// Send the whole file; the status of the answer, 0 when none came.
function put(upload) {
  const { file, ticket } = upload;
  return new Promise((done) => {
    const request = new XMLHttpRequest();
    let timer;
    const lives = () => {
      clearTimeout(timer);
      timer = setTimeout(() => request.abort(), stall);
    };
    request.upload.addEventListener("progress", (event) => {
      lives();
      upload.moved = true;
      progress(upload, event.loaded / event.total);
    });
    request.upload.addEventListener("load", () => { upload.sent = true; });
    request.addEventListener("loadend", () => {
      clearTimeout(timer);
      done(request.status);
    });
    upload.request.signal.addEventListener("abort", () => request.abort());
    request.open(ticket.method, ticket.url);
    for (const [name, value] of Object.entries(ticket.headers)) request.setRequestHeader(name, value);
    lives();
    progress(upload, 0);
    request.send(file);
  });
}

// Bring the file to S3. Afterwards upload.inS3 is "yes", "perhaps" or "".
async function deliver(upload) {
  // somebody may have moved it away since it was chosen, which looks like a broken connection later
  await upload.file.slice(0, 1).arrayBuffer().catch(() => { throw new Trouble("The file cannot be read any more: choose it again.", false); });
  if (!upload.ticket || upload.until < Date.now()) await takeTicket(upload);
  upload.sent = upload.moved = false;
  const status = await put(upload);
  // 412: something lies there already, and nobody else has this ticket
  if ((status >= 200 && status < 300) || status === 412) upload.inS3 = "yes";
  else if (status === 0 && upload.sent) upload.inS3 = "perhaps"; // the answer that was lost may have been a good one
  else if (status === 0) throw new Trouble(BROKE, true);
  else if (maySucceed(status)) throw new Trouble(`S3 is too busy, or fails (${status}).`, true);
  else {
    // the ticket is too old, or the credentials that signed it are, or the file has changed since it was hashed
    upload.ticket = null;
    upload.sha256 = "";
    upload.refused += 1;
    throw new Trouble(`S3 refuses the upload (${status}).`, upload.refused < REFUSALS, true);
  }
}

// Have a server check the file in S3 and list it. This is never cut short: nobody would know the outcome then.
async function settle(upload, preview) {
  upload.tile.querySelector(".facts").textContent = "being stored";
  upload.asked = true;
  try {
    return await ask(`${form.dataset.tickets}/${upload.ticket.key}`, preview);
  } catch (trouble) {
    const certain = upload.inS3 === "yes";
    upload.unsure ||= trouble.again;
    if (trouble.again) {
      upload.unheard ||= !trouble.heard; // a page cannot see whether the question was lost or the answer
      const listed = upload.unheard ? "and it may be listed already" : "but it is not listed yet";
      throw new Trouble(`S3 ${certain ? "has" : "may have"} it, ${listed}. ${trouble.message}`, trouble.passes, true, trouble.before);
    }
    const lost = trouble.status === 404;
    upload.gone = lost && upload.unsure;
    // where it was never certain, the ticket is still good
    if (!lost || certain) upload.ticket = null;
    upload.inS3 = "";
    upload.asked = upload.unsure = upload.unheard = false;
    // it may have been listed, and somebody has deleted it: only a person brings it back
    if (upload.gone) throw new Trouble(`It is not listed: it ${certain ? "" : "did not reach S3, or "}was deleted or refused meanwhile.`, false, true);
    throw lost ? new Trouble("S3 has not got the file.", true) : trouble;
  }
}

// Some time, or until the browser is online again, or until the upload is given up.
function pause(time, signal) {
  return new Promise((done) => {
    if (navigator.onLine) setTimeout(done, time);
    else window.addEventListener("online", done, { once: true });
    if (signal) signal.addEventListener("abort", done);
  });
}

// Why S3 sends no answer: a page cannot see that, so it asks once more, for anything at all.
async function silence(upload) {
  if (upload.moved) return BROKE;
  const asked = fetch(new URL(upload.ticket.url).origin, { mode: "no-cors", cache: "no-store" }).then(() => true, () => false);
  const late = pause(PATIENCE, upload.request.signal).then(() => false);
  if (!await Promise.race([asked, late])) return "S3 cannot be reached.";
  return `S3 answers, but not to this page: it is too busy, or its CORS rules do not name ${location.origin}.`;
}

// See that an upload is not listed, which a server was asked to list. It is deleted first, for the browser may end at any
// time: from then on no confirmation publishes it. Another one shows whether that is so, and removes a late copy.
async function unlist(upload) {
  const { key } = upload.ticket;
  const answer = await fetchHere(`/files/${key}`, { method: "DELETE", headers: { Accept: "application/json" } }).catch(() => null);
  if (!answer) throw new Trouble(LOST, true);
  // 404: it was not listed yet, and is not to be
  if (!answer.ok && answer.status !== 404) throw refused(answer, await answer.json().catch(() => null));
  try {
    await ask(`${form.dataset.tickets}/${key}`);
  } catch (trouble) {
    if (trouble.again) throw trouble;
    return; // it is deleted, or was refused
  }
  throw new Trouble("A server has listed it.", true); // it reached S3 only after it was to be deleted
}

// An upload was given up when a server had been asked to list it. Where that server's answer never came, S3 may be copying
// it still, and be done when it was deleted already: so it is checked to the end. Meanwhile the browser warns
// whoever leaves the page.
async function withdraw(upload) {
  running += 1;
  let trouble = null;
  for (const wait of [0, ...BACK]) {
    await pause(Math.max(wait, trouble ? trouble.before : 0));
    trouble = await unlist(upload).then(() => null, (fault) => fault);
    if (trouble) upload.unsure = true;
    if (trouble ? !trouble.passes : !upload.unsure) break;
  }
  if (trouble) {
    const what = `${upload.file.name} was cancelled, but may be listed all the same. ${trouble.message}`;
    say(`${what} Load the page again, and delete the file if it is there.`);
  }
  running -= 1;
  next();
}

async function goOn(upload, preview) {
  for (const wait of [...WAITS, null]) {
    try {
      if (!upload.inS3) await deliver(upload);
      if (upload.dropped) return null; // nobody lists it unless asked to
      return await settle(upload, preview);
    } catch (trouble) {
      if (!(trouble instanceof Trouble) || !trouble.passes || wait === null || upload.dropped) throw trouble;
      upload.tile.querySelector("progress").value = 0;
      upload.tile.querySelector(".facts").textContent = `${trouble.message} Trying again…`;
      say(`${upload.file.name}: ${trouble.message} Trying again.`);
      await pause(Math.max(wait, trouble.before), upload.request.signal);
    }
    if (upload.dropped) return null;
  }
}

async function straight(upload, preview) {
  upload.request = new AbortController();
  upload.refused = 0;
  try {
    const done = await goOn(upload, preview);
    if (!upload.dropped) finish(upload, done[0], `${done[0].name} is stored in S3, checked there by ${done[1]}, and on every server at once.`);
  } catch (trouble) {
    const why = trouble.message === BROKE ? await silence(upload) : trouble.message;
    if (!upload.dropped) fail(upload, why, trouble.again);
  }
  upload.request = null;
  if (upload.dropped && upload.asked) withdraw(upload);
}
