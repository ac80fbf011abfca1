// The log of a work request. Only the lines on the screen are in the page; the server has all of them (log/lines/), searches them
// (log/search/), and says when there are more (log/events/).

const PAGE = 500; // lines that are fetched at once
const PAGES = 40; // pages that are kept
const KEPT = 16e6; // characters that are kept
const ROW = 20; // height of a line in px, as in log.css
const MORE = 30; // lines above and below the screen
const TALLEST = 8e6; // px that every browser can scroll; a taller log is compressed in its middle,
const EDGE = 1e6; // but not so near to its ends
const HITS = 50000; // matches that are counted
const ERRORS = ["error:", "fatal:", "*** [", "traceback (most recent call last)", "segmentation fault", "undefined reference",
  "assertion failed", "unmet dependencies", "no space left on device"];
const MARKS = { stderr: ["E", "standard error"], internal: ["W", "the worker itself"] };
const STATUS = { Connecting: "dim", Running: "info", Finished: "dim", Disconnected: "warn" };

const clamp = (value, low, high) => Math.max(low, Math.min(value, high));

function element(name, className, ...children) {
  const made = document.createElement(name);
  made.className = className;
  made.append(...children);
  return made;
}

class Log {
  constructor(section) {
    this.section = section;
    this.base = section.dataset.log + "log/";
    this.total = Number(section.dataset.total);
    this.running = section.dataset.running === "true";
    this.open = false; // the last line may still get longer
    this.pages = new Map(); // number -> {lines, keep, size, abort}
    this.rows = new Map(); // line -> element
    this.v = this.s = 0; // where the screen begins: in the log, and as the browser scrolls
    this.range = [0, 0];
    this.hits = [];
    this.seen = this.total;
    this.build();
    this.resize();
    this.following = !this.fromHash();
    if (this.following) this.scrollTo(Infinity);
    this.news();
    if (this.running) this.connect();
  }

  build() {
    this.rowBox = element("div", "log-rows");
    this.space = element("div", "log-space", this.rowBox);
    this.view = element("div", "log-view mono", this.space);
    this.view.tabIndex = 0;
    this.view.setAttribute("role", "region");
    this.view.setAttribute("aria-label", "Lines of the log");
    this.follow = element("button", "button log-follow");
    this.follow.type = "button";
    this.section.querySelector(".log-static").replaceWith(element("div", "log-box", this.view, this.follow));
    this.word = this.section.querySelector("[data-log-status]");
    this.count = this.section.querySelector("[data-log-count]");
    const form = this.section.querySelector(".log-search");
    this.input = form.querySelector("input");
    form.hidden = false;

    this.view.addEventListener("scroll", () => this.scrolled(), { passive: true });
    new ResizeObserver(() => (this.following ? this.scrollTo(Infinity) : this.draw())).observe(this.view);
    this.follow.addEventListener("click", () => {
      this.following = true;
      this.scrollTo(Infinity);
      this.news();
      this.view.focus({ preventScroll: true });
    });
    this.rowBox.addEventListener("click", (event) => this.clicked(event));
    form.addEventListener("submit", (event) => event.preventDefault());
    form.addEventListener("click", (event) => {
      const what = event.target.dataset.logDo;
      if (what === "error") this.firstError();
      else if (what) this.find(what === "next" ? 1 : -1);
    });
    this.input.addEventListener("keydown", (event) => {
      if (event.key !== "Enter") return;
      event.preventDefault();
      this.find(event.shiftKey ? -1 : 1);
    });
    this.input.addEventListener("input", () => this.input.value || this.search(""));
    addEventListener("hashchange", () => this.fromHash());
    document.addEventListener("visibilitychange", () => {
      if (!this.running) return;
      if (document.hidden) this.disconnect();
      else this.connect();
    });
    addEventListener("pagehide", () => this.disconnect());
    addEventListener("pageshow", (event) => event.persisted && this.running && this.connect());
  }

  // ---- where the screen is ----

  get height() { return this.view.clientHeight; }
  get tall() { return this.total * ROW; }
  get end() { return Math.max(0, this.tall - this.height); }

  // What the browser scrolls to is what is in the log, but for the middle of a log that is taller than a browser can scroll.
  map(from, fromEnd, toEnd) {
    if (this.tall <= TALLEST || from <= EDGE) return from;
    if (from >= fromEnd - EDGE) return toEnd - (fromEnd - from);
    return EDGE + (from - EDGE) * (toEnd - 2 * EDGE) / (fromEnd - 2 * EDGE);
  }

  scrolled() {
    const s = this.view.scrollTop, moved = s - this.s, last = Math.min(this.tall, TALLEST) - this.height;
    this.s = s;
    if (!moved) return;
    // Small steps are true to the line; the scroll bar goes by proportion.
    if (this.tall <= TALLEST) this.v = s;
    else if (s <= 0) this.v = 0;
    else if (s >= last - 1) this.v = this.end;
    else if (Math.abs(moved) < 4 * this.height) this.v += moved;
    else this.v = this.map(s, last, this.end);
    this.v = clamp(this.v, 0, this.end);
    const follows = this.v >= this.end - ROW;
    if (follows !== this.following) {
      this.following = follows;
      this.seen = this.total;
      this.news();
    }
    this.draw();
    clearTimeout(this.idle);
    if (this.tall > TALLEST) this.idle = setTimeout(() => this.scrollTo(this.v), 150);
  }

  scrollTo(v) {
    this.v = clamp(v, 0, this.end);
    const s = this.map(this.v, this.end, Math.min(this.tall, TALLEST) - this.height);
    if (Math.abs(this.view.scrollTop - s) >= 1) this.view.scrollTop = s;
    this.s = this.view.scrollTop;
    this.draw();
  }

  resize() {
    this.space.style.height = Math.min(this.tall, TALLEST) + "px";
    this.view.style.setProperty("--digits", Math.max(4, String(this.total).length));
  }

  grow(total, open) {
    const last = this.pages.get(Math.floor((this.total - 1) / PAGE));
    if (last && this.open) last.keep = Math.min(last.keep, last.lines.length - 1);
    this.open = open;
    if (total !== this.total) {
      this.total = total;
      this.resize();
    }
    if (this.following) this.scrollTo(Infinity);
    else this.scrollTo(this.v);
    this.news();
  }

  // ---- rows ----

  draw() {
    const first = clamp(Math.floor(this.v / ROW) - MORE, 0, this.total) + 1;
    const last = Math.min(this.total, Math.ceil((this.v + this.height) / ROW) + MORE);
    for (const [n, row] of this.rows) {
      if (n >= first && n <= last) continue;
      row.remove();
      this.rows.delete(n);
    }
    let next = this.rowBox.firstChild;
    for (let n = first; n <= last; n++) {
      let row = this.rows.get(n);
      if (row) next = row.nextSibling;
      else {
        row = element("div", "log-line", element("a", "log-number", String(n)), element("span", "log-mark"), element("span", "log-text"));
        row.firstChild.href = "#L" + n;
        row.firstChild.tabIndex = -1;
        this.rows.set(n, row);
        this.rowBox.insertBefore(row, next);
        this.fill(n, row);
      }
    }
    this.rowBox.style.transform = `translateY(${this.s + (first - 1) * ROW - this.v}px)`;
    this.wanted = [Math.floor((first - 1) / PAGE), Math.floor((last - 1) / PAGE)];
    this.fetcher ??= setTimeout(() => this.fetchWanted(), 25);
  }

  fill(n, row) {
    const line = this.pages.get(Math.floor((n - 1) / PAGE))?.lines[(n - 1) % PAGE];
    const [number, mark, text] = row.children;
    const [letter, title] = MARKS[line?.stream] ?? ["", ""];
    row.className = "log-line " + (letter ? line.stream : "");
    row.classList.toggle("selected", n >= this.range[0] && n <= this.range[1]);
    row.classList.toggle("current", n === this.hits[this.at]);
    number.title = line?.time ? new Date(line.time).toLocaleString() : "";
    mark.textContent = letter;
    mark.title = title;
    text.replaceChildren(...this.marked(line?.text ?? ""));
  }

  marked(text) {
    if (!this.pattern) return [text];
    return text.split(this.pattern).map((part, at) => (at % 2 ? element("mark", "", part) : part));
  }

  refill() {
    for (const [n, row] of this.rows) this.fill(n, row);
  }

  // ---- pages ----

  fetchWanted() {
    this.fetcher = null;
    const [from, to] = this.wanted;
    let size = 0;
    for (const [p, page] of this.pages) {
      if (page.abort && (p < from || p > to)) page.abort.abort();
      size += page.size;
    }
    for (const [p, page] of this.pages) {
      if (this.pages.size <= PAGES && size <= KEPT) break;
      if (p >= from && p <= to) continue;
      this.pages.delete(p);
      size -= page.size;
    }
    for (let p = from; p <= to && this.total; p++) {
      const page = this.pages.get(p) ?? { lines: [], keep: 0, size: 0, abort: null };
      this.pages.delete(p); // the one used last is the last one
      this.pages.set(p, page);
      if (!page.abort && page.keep < Math.min(PAGE, this.total - p * PAGE)) this.load(p, page);
    }
  }

  async load(p, page) {
    const abort = (page.abort = new AbortController());
    const keep = page.keep;
    try {
      const said = await this.ask(`lines/?from=${p * PAGE + keep + 1}&count=${PAGE - keep}`, abort);
      page.lines.length = keep;
      page.lines.push(...said.lines);
      const stays = said.open && said.lines.at(-1)?.n === said.total ? 1 : 0;
      page.keep = page.lines.length - (this.open ? stays : 0);
      page.size = page.lines.reduce((sum, line) => sum + line.text.length, 0);
      page.abort = null;
      for (const [n, row] of this.rows) if (Math.floor((n - 1) / PAGE) === p) this.fill(n, row);
      if (said.total > this.total || !said.lines.length) this.grow(said.total, said.open);
      else if (page.lines.length < Math.min(PAGE, this.total - p * PAGE)) this.draw();
    } catch (error) {
      page.abort = null;
      if (error.name === "AbortError") return;
      this.status("Disconnected");
      setTimeout(() => this.draw(), 3000);
    }
  }

  async ask(path, abort) {
    const answer = await fetch(this.base + path, { signal: abort?.signal });
    if (!answer.ok) throw new Error(`${answer.status} ${answer.statusText}`);
    return answer.json();
  }

  // ---- news ----

  status(word) {
    this.word.textContent = word;
    this.word.className = "badge " + STATUS[word];
  }

  connect() {
    this.disconnect();
    this.status("Connecting");
    const source = (this.source = new EventSource(this.base + "events/"));
    source.addEventListener("lines", (event) => {
      this.status("Running");
      this.wait = 0;
      const said = JSON.parse(event.data);
      this.grow(said.total, said.open);
    });
    source.addEventListener("end", (event) => {
      this.disconnect();
      this.running = false;
      this.status("Finished");
      this.grow(this.total, false);
      this.section.dispatchEvent(new CustomEvent("log-end", { bubbles: true, detail: JSON.parse(event.data) }));
    });
    source.addEventListener("error", () => {
      this.status("Disconnected");
      // The browser tries again by itself, but not after a refusal.
      if (source.readyState !== EventSource.CLOSED) return;
      this.wait = Math.min(60, (this.wait || 2) * 2);
      this.again = setTimeout(() => this.connect(), this.wait * 1000);
    });
  }

  disconnect() {
    clearTimeout(this.again);
    this.source?.close();
    this.source = null;
  }

  news() {
    const more = this.total - this.seen;
    this.follow.hidden = this.following || !this.running;
    this.follow.textContent = more > 0 ? `Follow (${more} new line${more === 1 ? "" : "s"})` : "Follow";
  }

  // ---- addresses ----

  fromHash() {
    const found = /^#L(\d+)(?:-L(\d+))?$/.exec(location.hash);
    if (found) this.show(Number(found[1]), Number(found[2] ?? found[1]));
    return Boolean(found);
  }

  select(from, to) {
    this.range = [Math.min(from, to), Math.max(from, to)];
    this.refill();
  }

  show(from, to = from) {
    this.following = false;
    this.seen = this.total;
    this.select(from, to);
    this.scrollTo((this.range[0] - 1) * ROW - this.height / 3);
    this.news();
  }

  clicked(event) {
    const number = event.target.closest(".log-number");
    if (!number || event.ctrlKey || event.metaKey) return;
    event.preventDefault();
    const n = Number(number.textContent);
    const from = event.shiftKey && this.range[0] ? this.range[0] : n;
    this.select(from, n);
    this.setHash();
  }

  setHash() {
    const [from, to] = this.range;
    history.replaceState(history.state, "", from === to ? `#L${from}` : `#L${from}-L${to}`);
  }

  // ---- search ----

  find(direction) {
    const text = this.input.value;
    const line = /^:(\d+)$/.exec(text);
    if (line) {
      this.show(clamp(Number(line[1]), 1, this.total));
      this.setHash();
      return;
    }
    if (text !== this.text) this.search(text);
    if (!text) return;
    // What has come since then.
    if (this.more === null && this.total > this.searched) this.more = Math.max(1, this.searched);
    this.direction = direction;
    this.step();
    if (this.more) this.scan();
  }

  search(text) {
    this.scanner?.abort();
    this.scanner = null;
    this.text = text;
    this.pattern = text ? new RegExp(`(${text.replace(/[\\^$.*+?()[\]{}|\/]/g, "\\$&")})`, "iu") : null;
    if (this.pattern) this.pattern = new RegExp(this.pattern.source, "giu");
    [this.hits, this.at, this.more, this.searched, this.direction] = [[], -1, text ? 1 : null, 0, 0];
    this.count.textContent = "";
    this.refill();
  }

  async scan() {
    if (this.scanner) return;
    const abort = (this.scanner = new AbortController());
    try {
      while (this.more && this.hits.length < HITS) {
        const total = this.total;
        const said = await this.ask(`search/?q=${encodeURIComponent(this.text)}&from=${this.more}`, abort);
        const last = this.hits.at(-1) ?? 0;
        for (const n of said.matches) if (n > last) this.hits.push(n);
        this.more = said.next;
        this.searched = total;
        this.step();
      }
    } catch (error) {
      if (error.name !== "AbortError") this.count.textContent = "The search failed";
    } finally {
      if (this.scanner === abort) this.scanner = null;
    }
  }

  // Goes to the next match in the direction that is asked for, once it is known.
  step() {
    const { hits, direction } = this;
    if (direction) {
      const top = Math.ceil(this.v / ROW) + 1;
      const here = hits[this.at] ?? (direction > 0 ? top - 1 : top + Math.floor(this.height / ROW));
      let at = direction > 0 ? hits.findIndex((n) => n > here) : hits.findLastIndex((n) => n < here);
      const known = direction > 0 ? at >= 0 : at >= 0 && (!this.more || this.more > here);
      if (known || !this.more) {
        if (at < 0) at = direction > 0 ? 0 : hits.length - 1;
        this.direction = 0;
        if (hits.length) {
          this.at = at;
          this.show(hits[at]);
        }
      }
    }
    const many = `${hits.length}${this.more ? "+" : ""}`;
    if (this.at >= 0) this.count.textContent = `${this.at + 1} of ${many}`;
    else this.count.textContent = this.more ? "Searching…" : "Not found";
  }

  async firstError() {
    this.count.textContent = "Searching…";
    const words = ERRORS.map((word) => `q=${encodeURIComponent(word)}`).join("&");
    try {
      for (let from = 1; from; ) {
        const said = await this.ask(`search/?${words}&limit=1&from=${from}`);
        if (said.matches.length) {
          this.show(said.matches[0]);
          this.setHash();
          this.count.textContent = `Line ${said.matches[0]}`;
          return;
        }
        from = said.next;
      }
      this.count.textContent = "No error found";
    } catch {
      this.count.textContent = "The search failed";
    }
  }
}

document.querySelectorAll("section.log").forEach((section) => new Log(section));
