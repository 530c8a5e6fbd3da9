"use strict";
// The chat page: conversations in localStorage, answers streamed from /v1/chat/completions, Markdown built as DOM nodes
// (never as HTML text, so that nothing a model writes can run).

const element = (id) => document.getElementById(id);
const FIELDS = ["system", "key", "temperature", "top_p", "top_k", "min_p", "repeat_penalty", "max_tokens", "seed", "theme"];
const NUMBERS = new Set(["temperature", "top_p", "top_k", "min_p", "repeat_penalty", "max_tokens", "seed"]);

const store = {
  read(name, fallback) {
    try { return JSON.parse(localStorage.getItem("imp." + name)) ?? fallback; } catch { return fallback; }
  },
  write(name, value) {
    try { localStorage.setItem("imp." + name, JSON.stringify(value)); } catch { setStatus("The browser's storage is full: this chat is not kept."); }
  },
};

let conversations = store.read("conversations", []);
let current = conversations[0] ?? null;
let running = null; // AbortController of the answer that is streaming
let contextSize = 0;

// ---- Markdown ----

function inline(text, parent) {
  const pattern = /(`+)([^`]|[^`][\s\S]*?[^`])\1(?!`)|\*\*([^*]+?)\*\*|__([^_]+?)__|\*([^*\s][^*]*?)\*|~~([^~]+?)~~|\[([^\]]*)\]\((https?:\/\/[^\s)]+)\)|(https?:\/\/[^\s<>()]+)/g;
  let last = 0;
  for (const m of text.matchAll(pattern)) {
    parent.append(text.slice(last, m.index));
    last = m.index + m[0].length;
    let node;
    if (m[2] !== undefined) { node = document.createElement("code"); node.textContent = m[2]; }
    else if (m[3] ?? m[4]) { node = document.createElement("strong"); inline(m[3] ?? m[4], node); }
    else if (m[5]) { node = document.createElement("em"); inline(m[5], node); }
    else if (m[6]) { node = document.createElement("del"); inline(m[6], node); }
    else {
      node = document.createElement("a");
      node.href = m[8] ?? m[9];
      node.textContent = m[7] || m[8] || m[9];
      node.rel = "noopener noreferrer";
      node.target = "_blank";
    }
    parent.append(node);
  }
  parent.append(text.slice(last));
}

function codeBlock(lines) {
  const pre = document.createElement("pre"), code = document.createElement("code"), copy = document.createElement("button");
  code.textContent = lines.join("\n");
  copy.textContent = "Copy";
  copy.type = "button";
  copy.onclick = () => navigator.clipboard?.writeText(code.textContent);
  pre.append(code, copy);
  return pre;
}

function list(lines, start) {
  const ordered = /^\s*\d+[.)]/.test(lines[start]);
  const node = document.createElement(ordered ? "ol" : "ul");
  const indent = lines[start].match(/^\s*/)[0].length;
  if (ordered) node.start = parseInt(lines[start].trim(), 10);
  let i = start;
  while (i < lines.length) {
    const m = lines[i].match(/^(\s*)(?:[-*+]|\d+[.)])\s+(.*)$/);
    if (m && m[1].length > indent + 1 && node.lastChild) {
      const [child, next] = list(lines, i);
      node.lastChild.append(child);
      i = next;
    } else if (m && m[1].length >= indent - 1) {
      const item = document.createElement("li");
      inline(m[2], item);
      node.append(item);
      i++;
    } else if (lines[i].trim() && /^\s/.test(lines[i]) && node.lastChild) {
      node.lastChild.append(" ");
      inline(lines[i].trim(), node.lastChild);
      i++;
    } else break;
  }
  return [node, i];
}

function table(lines, start) {
  const cells = (line) => line.trim().replace(/^\||\|$/g, "").split("|").map((c) => c.trim());
  const node = document.createElement("table");
  let i = start;
  for (; i < lines.length && lines[i].includes("|"); i++) {
    if (i === start + 1) continue;
    const row = node.insertRow();
    for (const cell of cells(lines[i])) {
      const td = document.createElement(i === start ? "th" : "td");
      inline(cell, td);
      row.append(td);
    }
  }
  return [node, i];
}

function markdown(text) {
  const fragment = document.createDocumentFragment(), lines = text.split("\n");
  for (let i = 0; i < lines.length;) {
    const line = lines[i];
    const fence = line.match(/^\s*(```+|~~~+)/);
    const heading = line.match(/^(#{1,6})\s+(.*)$/);
    if (fence) {
      const body = [];
      for (i++; i < lines.length && !lines[i].trim().startsWith(fence[1]); i++) body.push(lines[i]);
      i++;
      fragment.append(codeBlock(body));
    } else if (heading) {
      const node = document.createElement("h" + Math.min(6, heading[1].length + 1));
      inline(heading[2], node);
      fragment.append(node);
      i++;
    } else if (/^\s*([-*_])(\s*\1){2,}\s*$/.test(line)) {
      fragment.append(document.createElement("hr"));
      i++;
    } else if (/^\s*(?:[-*+]|\d+[.)])\s+/.test(line)) {
      const [node, next] = list(lines, i);
      fragment.append(node);
      i = Math.max(next, i + 1);
    } else if (/^\s*>/.test(line)) {
      const quoted = [];
      for (; i < lines.length && /^\s*>/.test(lines[i]); i++) quoted.push(lines[i].replace(/^\s*> ?/, ""));
      const node = document.createElement("blockquote");
      node.append(markdown(quoted.join("\n")));
      fragment.append(node);
    } else if (line.includes("|") && /^\s*\|?[\s:-]+\|[\s|:-]*$/.test(lines[i + 1] ?? "")) {
      const [node, next] = table(lines, i);
      fragment.append(node);
      i = next;
    } else if (!line.trim()) {
      i++;
    } else {
      const node = document.createElement("p");
      for (let first = true; i < lines.length && lines[i].trim() && !/^\s*(```|~~~|#{1,6}\s|>|[-*+]\s|\d+[.)]\s)/.test(first ? "" : lines[i]); i++, first = false) {
        if (!first) node.append(document.createElement("br"));
        inline(lines[i], node);
      }
      fragment.append(node);
    }
  }
  return fragment;
}

// ---- the page ----

function setStatus(text) { element("status").textContent = text; }

function button(label, onclick) {
  const node = document.createElement("button");
  node.type = "button";
  node.className = "quiet";
  node.textContent = label;
  node.onclick = onclick;
  return node;
}

function showMessage(message, index) {
  const node = document.createElement("article"), body = document.createElement("div"), tools = document.createElement("div");
  node.className = "message " + message.role;
  body.className = "body";
  tools.className = "tools";
  if (message.reasoning) {
    const details = document.createElement("details"), summary = document.createElement("summary"), text = document.createElement("div");
    summary.textContent = "Reasoning";
    text.className = "reasoning";
    text.textContent = message.reasoning;
    details.append(summary, text);
    details.open = !message.content;
    node.append(details);
  }
  if (message.role === "assistant") body.append(markdown(message.content)); else body.textContent = message.content;
  if (message.error) {
    const error = document.createElement("p");
    error.className = "error";
    error.textContent = message.error;
    body.append(error);
  }
  if (message.role === "user") tools.append(button("Edit", () => edit(index)));
  else tools.append(button("Copy", () => navigator.clipboard?.writeText(message.content)), button("Regenerate", () => regenerate(index)));
  if (message.meta) {
    const meta = document.createElement("span");
    meta.className = "meta";
    meta.textContent = message.meta;
    tools.append(meta);
  }
  node.append(body, tools);
  return node;
}

function showConversation() {
  const pane = element("messages");
  pane.replaceChildren(...(current?.messages ?? []).map(showMessage));
  pane.scrollTop = pane.scrollHeight;
  element("title").textContent = current?.title || "New chat";
  document.title = (current?.title ? current.title + " – " : "") + "imp";
}

function showList() {
  element("conversations").replaceChildren(...conversations.map((conversation) => {
    const item = document.createElement("li");
    const open = button(conversation.title || "New chat", () => { if (!running) { current = conversation; document.body.classList.remove("sidebar"); showAll(); element("input").focus(); } });
    open.className = "open";
    const remove = button("✕", () => {
      if (running && conversation === current) return;
      conversations = conversations.filter((other) => other !== conversation);
      if (current === conversation) current = conversations[0] ?? null;
      save();
      showAll();
    });
    remove.setAttribute("aria-label", "Delete " + (conversation.title || "chat"));
    if (conversation === current) item.setAttribute("aria-current", "true");
    item.append(open, remove);
    return item;
  }));
}

function showAll() { showList(); showConversation(); }
function save() { store.write("conversations", conversations); }

function newConversation() {
  if (running) return;
  current = { title: "", messages: [] };
  conversations.unshift(current);
  save();
  showAll();
  element("input").focus();
}

// ---- settings ----

function settings() {
  const values = {};
  for (const name of FIELDS) values[name] = element(name).value;
  return values;
}

function loadSettings() {
  const values = store.read("settings", {});
  for (const name of FIELDS) if (values[name] !== undefined) element(name).value = values[name];
  applyTheme();
}

function applyTheme() {
  const theme = element("theme").value;
  if (theme) document.documentElement.dataset.theme = theme; else delete document.documentElement.dataset.theme;
}

function headers() {
  const key = element("key").value;
  return { "Content-Type": "application/json", ...(key ? { Authorization: "Bearer " + key } : {}) };
}

function requestBody() {
  const values = settings();
  const messages = current.messages.filter((m) => !m.pending && (m.content || m.role === "user")).map(({ role, content }) => ({ role, content }));
  if (values.system.trim()) messages.unshift({ role: "system", content: values.system });
  const body = { model: "imp", messages, stream: true, stream_options: { include_usage: true } };
  for (const name of NUMBERS) if (values[name] !== "") body[name] = Number(values[name]);
  return body;
}

// ---- answers ----

async function* events(response) {
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    text += value;
    for (let end; (end = text.indexOf("\n\n")) >= 0; text = text.slice(end + 2)) {
      const data = text.slice(0, end).split("\n").filter((l) => l.startsWith("data: ")).map((l) => l.slice(6)).join("\n");
      if (data && data !== "[DONE]") yield JSON.parse(data);
    }
  }
}

function describe(usage, seconds, tokens) {
  const parts = [];
  if (tokens > 1 && seconds > 0) parts.push(((tokens - 1) / seconds).toFixed(1) + " tok/s");
  if (usage) {
    parts.push(usage.total_tokens + (contextSize ? " of " + contextSize : "") + " tokens of context");
    const cached = usage.prompt_tokens_details?.cached_tokens ?? 0;
    parts.push(cached + " of " + usage.prompt_tokens + " prompt tokens from the cache");
  }
  return parts.join(" · ");
}

async function answer() {
  const message = { role: "assistant", content: "", reasoning: "", pending: true };
  const body = JSON.stringify(requestBody());
  const conversation = current, index = current.messages.push(message) - 1, pane = element("messages");
  let node = showMessage(message, index), drawn = false;
  pane.append(node);
  running = new AbortController();
  element("send").hidden = true;
  element("stop").hidden = false;
  setStatus("Reading the prompt …");
  let usage = null, first = 0, last = 0, tokens = 0;
  const redraw = () => {
    drawn = false;
    const follow = pane.scrollHeight - pane.scrollTop - pane.clientHeight < 60;
    const next = showMessage(message, index);
    node.replaceWith(next);
    node = next;
    if (follow) pane.scrollTop = pane.scrollHeight;
  };
  try {
    const response = await fetch("v1/chat/completions", { method: "POST", headers: headers(), body, signal: running.signal });
    if (!response.ok) throw new Error((await response.json()).error?.message ?? response.statusText);
    for await (const chunk of events(response)) {
      if (chunk.error) throw new Error(chunk.error.message);
      if (chunk.usage) usage = chunk.usage;
      const delta = chunk.choices?.[0]?.delta;
      if (!delta?.content && !delta?.reasoning_content) continue;
      last = performance.now();
      first ||= last;
      tokens++;
      message.content += delta.content ?? "";
      message.reasoning += delta.reasoning_content ?? "";
      setStatus(describe(null, (last - first) / 1000, tokens) || "Writing …");
      if (!drawn) { drawn = true; requestAnimationFrame(redraw); }
    }
  } catch (error) {
    if (error.name !== "AbortError") message.error = "The answer failed: " + error.message;
  }
  delete message.pending;
  message.meta = describe(usage, (last - first) / 1000, usage?.completion_tokens ?? tokens);
  running = null;
  element("send").hidden = false;
  element("stop").hidden = true;
  setStatus("");
  redraw();
  if (!conversation.title) conversation.title = conversation.messages[0].content.trim().slice(0, 60);
  save();
  showAll();
  element("input").focus();
}

function send(text) {
  if (running || !text.trim()) return;
  if (!current) { current = { title: "", messages: [] }; conversations.unshift(current); }
  current.messages.push({ role: "user", content: text });
  save();
  showAll();
  answer();
}

function regenerate(index) {
  if (running) return;
  current.messages.length = index;
  showConversation();
  answer();
}

function edit(index) {
  if (running) return;
  element("input").value = current.messages[index].content;
  current.messages.length = index;
  save();
  showConversation();
  resize();
  element("input").focus();
}

function resize() {
  const input = element("input");
  input.style.height = "auto";
  input.style.height = input.scrollHeight + 2 + "px";
}

// ---- wiring ----

element("composer").addEventListener("submit", (event) => {
  event.preventDefault();
  const text = element("input").value;
  if (running || !text.trim()) return;
  element("input").value = "";
  resize();
  send(text);
});
element("input").addEventListener("keydown", (event) => {
  if (event.key === "Enter" && !event.shiftKey && !event.isComposing) { event.preventDefault(); element("composer").requestSubmit(); }
});
element("input").addEventListener("input", resize);
element("stop").addEventListener("click", () => running?.abort());
document.addEventListener("keydown", (event) => { if (event.key === "Escape") { if (running) running.abort(); else document.body.classList.remove("sidebar"); } });
element("new").addEventListener("click", newConversation);
element("open-sidebar").addEventListener("click", () => document.body.classList.add("sidebar"));
element("close-sidebar").addEventListener("click", () => document.body.classList.remove("sidebar"));
for (const name of FIELDS) element(name).addEventListener("change", () => { store.write("settings", settings()); applyTheme(); });

for (const conversation of conversations) for (const message of conversation.messages) delete message.pending;
loadSettings();
showAll();
fetch("v1/models", { headers: headers() }).then((r) => r.json()).then((models) => {
  const loaded = models.data?.find((m) => m.loaded);
  element("model").textContent = loaded?.id ?? "";
  contextSize = loaded?.context ?? 0;
}).catch(() => setStatus("The server cannot be reached."));
