// The gate's page. Whatever comes from a proposal is set as text, never as markup.
const EVERY_MS = 5000;
const WAIT_MS = 15000;
const KEPT = "pilothouse.token";
const REASONS = { rationale: "Why", why: "Why not the same again", hypothesis: "Expected", risk: "Risk", rollback: "Rollback", source: "Proposed by" };
const SUBJECT = { config_digest: "Config", code_commit: "Code commit", evaluation_digest: "Evaluation", cost_ceiling: "Cost ceiling", pool: "Pool" };

const byId = (id) => document.getElementById(id);
const shown = new Map();
let busy = false;

class Problem extends Error {}

async function ask(path, { method = "GET", body, digest } = {}) {
  const headers = { Accept: "application/json" };
  const token = sessionStorage.getItem(KEPT);
  if (token) headers.Authorization = `Bearer ${token}`;
  if (body) headers["Content-Type"] = "application/json";
  if (digest) headers["If-Match"] = `"${digest}"`;
  let answer;
  try {
    answer = await fetch(path, { method, headers, body: body && JSON.stringify(body), signal: AbortSignal.timeout(WAIT_MS) });
  } catch {
    throw new Problem("The server does not answer; it is asked again.");
  }
  const told = await answer.json().catch(() => ({}));
  if (answer.status === 401) throw new Problem(`Type a good token above: ${told.detail ?? "none was shown"}.`);
  if (!answer.ok) throw new Problem(`${told.detail ?? answer.statusText}${told.fix ? ` — ${told.fix}` : ""}`);
  return told;
}

function tell(text) {
  if (byId("state").textContent !== text) byId("state").textContent = text;
}

function row(...texts) {
  const line = document.createElement("tr");
  for (const text of texts) line.insertCell().textContent = text;
  return line;
}

function pair(list, name, value) {
  const [term, said] = [document.createElement("dt"), document.createElement("dd")];
  [term.textContent, said.textContent] = [name, value];
  list.append(term, said);
}

const plain = (value) => (value === null ? "none" : typeof value === "string" ? value : JSON.stringify(value));

function card(proposal, diff) {
  const article = byId("proposal").content.cloneNode(true).querySelector("article");
  const find = (selector) => article.querySelector(selector);
  find("h2").textContent = `${proposal.campaign} · trial ${proposal.trial} · ${proposal.id}`;
  find(".why").textContent = `${proposal.changes === "none" ? "identical rerun" : proposal.changes}; proposed ${new Date(proposal.created_at).toLocaleString()}`;
  const lines = [
    ...diff.changes.map((each) => row(each.knob, plain(each.before), plain(each.after), plain(each.bucket), plain(each.risk))),
    ...diff.followed.map((each) => row(each.name, plain(each.before), plain(each.after), "derived", "")),
  ];
  find("tbody").append(...lines);
  find("table").hidden = lines.length === 0;
  find(".identical").hidden = lines.length > 0;
  for (const [key, name] of Object.entries(REASONS)) {
    if (proposal[key] && !(key === "why" && proposal.why === proposal.rationale)) pair(find("dl"), name, proposal[key]);
  }
  if (!diff.parent_is_baseline) pair(find("dl"), "Mind", "its parent is no longer what the campaign runs with");
  for (const each of proposal.approvals) pair(find("dl"), "Yes by", `${each.by} until ${each.expires_at ? new Date(each.expires_at).toLocaleString() : "it is taken back"}${each.reason ? `: ${each.reason}` : ""}`);
  for (const each of proposal.incidents) pair(find("dl"), "Incident", `${each.diagnosis} × ${each.occurrences}: ${each.evidence}`);
  for (const [key, name] of Object.entries(SUBJECT)) pair(find(".subject"), name, proposal.subject[key]);
  pair(find(".subject"), "Digest of all", proposal.subject_digest);
  find("form").addEventListener("submit", (event) => event.preventDefault()); // The Enter key decides nothing.
  for (const button of find("form").querySelectorAll("button")) button.addEventListener("click", () => decide(find("form"), button.value, proposal));
  return article;
}

async function decide(form, verb, proposal) {
  const [answer, buttons] = [form.querySelector(".answer"), form.querySelectorAll("button")];
  const body = verb === "approve" ? { reason: form.reason.value, expires_in: form.expires.value } : { reason: form.reason.value };
  for (const button of buttons) button.disabled = true;
  answer.textContent = "";
  try {
    const said = await ask(`/proposals/${encodeURIComponent(proposal.id)}/${verb}`, { method: "POST", body, digest: proposal.subject_digest });
    answer.textContent = verb === "approve" ? `Approved by ${said.approver} until ${new Date(said.expires_at).toLocaleString()}; the loop goes on.` : "Rejected.";
    await look();
  } catch (error) {
    answer.textContent = error.message;
  } finally {
    for (const button of buttons) button.disabled = false;
  }
}

async function look() {
  if (busy) return;
  busy = true;
  try {
    const { proposals } = await ask("/proposals?state=open&limit=50");
    const open = new Set(proposals.map((each) => each.id));
    for (const [id, article] of shown) if (!open.has(id)) { article.remove(); shown.delete(id); }
    for (const { id } of [...proposals].reverse()) {
      if (shown.has(id)) continue;
      const path = `/proposals/${encodeURIComponent(id)}`;
      const article = card(await ask(path), await ask(`${path}/diff`));
      shown.set(id, article);
      byId("proposals").prepend(article);
    }
    tell(open.size === 0 ? "Nothing waits for a yes." : open.size === 1 ? "One proposal waits for a yes." : `${open.size} proposals wait for a yes.`);
  } catch (error) {
    tell(error.message);
  } finally {
    busy = false;
  }
}

function named() {
  byId("forget").hidden = !sessionStorage.getItem(KEPT);
  byId("token").placeholder = sessionStorage.getItem(KEPT) ? "a token is in use" : "";
}

byId("who").addEventListener("submit", (event) => {
  event.preventDefault();
  const token = byId("token").value.trim();
  if (token) sessionStorage.setItem(KEPT, token);
  byId("token").value = "";
  named();
  look();
});
byId("forget").addEventListener("click", () => { sessionStorage.removeItem(KEPT); named(); look(); });
setInterval(() => { if (document.visibilityState === "visible") look(); }, EVERY_MS);
document.addEventListener("visibilitychange", look);
named();
look();
