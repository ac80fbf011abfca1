// The log of a work request. Only the lines on the screen are in the page; the server keeps and searches them.

const PAGE = 500; // lines fetched at once
const KEPT = 8e6; // characters kept
const ROW = 20; // height of a line in px, as in log.css
const MORE = 30; // lines above and below the screen
const TALLEST = 8e6; // px that any browser can scroll; a taller log is compressed, but for
const EDGE = 1e6; // both ends
const HITS = 5e4; // matches counted
const ERRORS = ["error:", "fatal:", "*** [", "traceback (most", "segmentation fault", "undefined reference", "assertion failed",
	"unmet dependencies", "no space left"];
const MARKS = { stderr: ["E", "standard error"], internal: ["W", "the worker itself"] };
const COLOURS = { Running: "info", Disconnected: "warn" };

const clamp = (value, low, high) => Math.max(low, Math.min(value, high));
const pageOf = (n) => Math.floor((n - 1) / PAGE);
const on = (target, name, listener) => target.addEventListener(name, listener);

class Log {
	constructor(section) {
		const find = (selector) => section.querySelector(selector);
		this.base = section.dataset.log + "log/";
		this.total = this.seen = +section.dataset.total;
		this.running = section.dataset.running === "true";
		this.pages = new Map(); // number -> {lines, keep: how many stay as they are, heard: news before that, abort}
		this.rows = new Map(); // number of line -> element
		this.heard = 0; // news
		this.v = this.s = 0; // where the screen begins in the log, and as the browser scrolls
		this.range = [0, 0];
		this.box = find(".log-rows");
		this.space = find(".log-space");
		this.view = find(".log-view");
		this.button = find(".log-follow");
		this.row = find("template").content.firstChild;
		find(".log-static").remove();
		find(".log-box").hidden = false;
		this.word = find("[data-log-status]");
		this.count = find("[data-log-count]");
		this.input = find("input");
		const form = find(".log-search");
		form.hidden = false;

		on(this.view, "scroll", () => this.scrolled());
		on(this.box, "click", (event) => this.clicked(event));
		on(this.button, "click", () => {
			this.follow(true);
			this.view.focus();
		});
		on(form, "click", (event) => {
			const step = +event.target.dataset.logStep;
			if (step) this.find(step);
			else if (step === 0) this.firstError();
		});
		on(this.input, "keydown", (event) => {
			if (event.key === "Enter") this.find(event.shiftKey ? -1 : 1);
		});
		on(this.input, "input", () => this.input.value || this.search(null, ""));
		on(window, "hashchange", () => this.fromHash());
		on(document, "visibilitychange", () => this.connect());
		this.search(null, "");
		this.grow(this.total);
		this.fromHash() || this.follow(true);
		this.connect();
		new ResizeObserver(() => this.scrollTo(this.v)).observe(this.view);
	}

	get height() { return this.view.clientHeight; }
	get tall() { return this.total * ROW; }
	get end() { return Math.max(0, this.tall - this.height); }
	get last() { return Math.min(this.tall, TALLEST) - this.height; }

	// From where the browser scrolls to where that is in the log, and back.
	map(from, end, toEnd) {
		if (this.tall <= TALLEST || from <= EDGE) return from;
		if (from >= end - EDGE) return toEnd - (end - from);
		return EDGE + (from - EDGE) * (toEnd - 2 * EDGE) / (end - 2 * EDGE);
	}

	scrolled() {
		const s = this.view.scrollTop, moved = s - this.s;
		if (!moved) return;
		this.s = s;
		// Small steps are true to the line; the scroll bar goes by proportion.
		const near = Math.abs(moved) < 4 * this.height && s > 0 && s < this.last - 1;
		this.v = clamp(near ? this.v + moved : this.map(s, this.last, this.end), 0, this.end);
		const follows = this.v >= this.end - ROW;
		if (follows !== this.following) this.follow(follows);
		this.draw();
		clearTimeout(this.idle);
		this.idle = setTimeout(() => this.scrollTo(this.v), 150);
	}

	scrollTo(v) {
		this.v = this.following ? this.end : clamp(v, 0, this.end);
		const s = this.map(this.v, this.end, this.last);
		if (Math.abs(this.view.scrollTop - s) >= 1) this.view.scrollTop = s;
		this.s = this.view.scrollTop;
		this.draw();
	}

	follow(follows) {
		if (follows !== this.following) this.seen = this.total;
		this.following = follows;
		if (follows) this.scrollTo(0);
		this.news();
	}

	news() {
		const more = this.total - this.seen;
		this.button.hidden = this.following || !this.running;
		this.button.textContent = more > 0 ? `Follow (${more} new)` : "Follow";
	}

	grow(total) {
		this.heard++;
		this.total = total;
		this.space.style.height = Math.min(this.tall, TALLEST) + "px";
		this.view.style.setProperty("--digits", Math.max(4, `${total}`.length));
		this.scrollTo(this.v);
		this.news();
	}

	draw() {
		const first = Math.max(1, Math.floor(this.v / ROW) + 1 - MORE);
		const last = Math.min(this.total, Math.ceil((this.v + this.height) / ROW) + MORE);
		for (const [n, row] of this.rows) {
			if (n >= first && n <= last) continue;
			row.remove();
			this.rows.delete(n);
		}
		let next = this.box.firstChild;
		for (let n = first; n <= last; n++) {
			let row = this.rows.get(n);
			if (row) next = row.nextSibling;
			else {
				row = this.row.cloneNode(true);
				row.firstChild.textContent = n;
				row.firstChild.href = "#log-" + n;
				this.rows.set(n, row);
				this.box.insertBefore(row, next);
				this.fill(n, row);
			}
		}
		this.box.style.transform = `translateY(${this.s + (first - 1) * ROW - this.v}px)`;
		this.wanted = [pageOf(first), pageOf(last)];
		this.timer ??= setTimeout(() => this.fetchPages(), 25);
	}

	fill(n, row) {
		const line = this.pages.get(pageOf(n))?.lines[(n - 1) % PAGE] ?? { text: "" };
		const [number, sign, text] = row.children;
		const [letter, title] = MARKS[line.stream] ?? ["", ""];
		row.className = "log-line " + (letter && line.stream);
		if (n >= this.range[0] && n <= this.range[1]) row.className += " selected";
		if (n === this.hits[this.at]) row.className += " current";
		number.title = line.time ?? "";
		sign.textContent = letter;
		sign.title = title;
		const parts = this.pattern ? line.text.split(this.pattern) : [line.text];
		const mark = (words) => Object.assign(document.createElement("mark"), { textContent: words });
		text.replaceChildren(...parts.map((part, at) => (at % 2 ? mark(part) : part)));
	}

	refill() {
		this.rows.forEach((row, n) => this.fill(n, row));
	}

	fetchPages() {
		this.timer = null;
		const [from, to] = this.wanted;
		for (let p = from; p <= to && this.total; p++) {
			const page = this.pages.get(p) ?? { lines: [], keep: 0 };
			this.pages.delete(p); // the one used last is the last one
			this.pages.set(p, page);
			const { lines, keep, heard, abort } = page, all = Math.min(PAGE, this.total - p * PAGE);
			// A last line without end is looked at again when something is new.
			if (!abort && (lines.length < all || (keep < all && heard < this.heard))) this.load(p, page);
		}
		let size = 0;
		for (const [p, page] of [...this.pages].reverse()) {
			size += page.lines.reduce((sum, line) => sum + line.text.length + 100, 0);
			if (p >= from && p <= to) continue;
			page.abort?.abort();
			if (size > KEPT) this.pages.delete(p);
		}
	}

	async load(p, page) {
		const { keep } = page, abort = (page.abort = new AbortController());
		page.heard = this.heard;
		try {
			const said = await this.ask(`lines/?from=${p * PAGE + keep + 1}&count=${PAGE - keep}`, abort);
			page.abort = null;
			page.lines.splice(keep, PAGE, ...said.lines);
			page.keep = page.lines.length - (said.open && said.lines.at(-1)?.n === said.total);
			this.refill();
			this.running || this.status("Finished");
			if (said.total > this.total || !said.lines.length) this.grow(said.total);
			this.draw();
		} catch {
			page.abort = null;
			if (abort.signal.aborted) return;
			this.status("Disconnected");
			setTimeout(() => this.draw(), 3000);
		}
	}

	async ask(path, abort) {
		const answer = await fetch(this.base + path, { signal: abort.signal });
		if (!answer.ok) throw Error(answer.status);
		return answer.json();
	}

	status(word) {
		this.word.textContent = word;
		this.word.className = "badge " + (COLOURS[word] ?? "dim");
	}

	// Listens as long as the log may grow and somebody looks at it.
	connect() {
		clearTimeout(this.again);
		this.source?.close();
		if (!this.running || document.hidden) return;
		this.status("Connecting");
		const source = (this.source = new EventSource(this.base + "events/"));
		on(source, "lines", (event) => {
			this.status("Running");
			this.grow(JSON.parse(event.data).total);
		});
		on(source, "end", () => {
			this.running = false;
			this.connect();
			this.status("Finished");
			this.news();
		});
		on(source, "error", () => {
			this.status("Disconnected");
			// The browser tries again by itself, but not after a refusal.
			if (source.readyState === 2) this.again = setTimeout(() => this.connect(), 1e4);
		});
	}

	fromHash() {
		const found = /^#log-(\d+)(?:-(\d+))?$/.exec(location.hash);
		if (found) this.show(+found[1], +(found[2] ?? found[1]));
		return found;
	}

	show(from, to = from) {
		this.follow(false);
		this.range = [Math.min(from, to), Math.max(from, to)];
		this.refill();
		this.view.scrollIntoView({ block: "nearest" });
		this.scrollTo((this.range[0] - 1) * ROW - this.height / 3);
	}

	clicked(event) {
		const n = +event.target.closest(".log-number")?.textContent;
		if (!n || event.ctrlKey || event.metaKey) return;
		event.preventDefault();
		const other = (event.shiftKey && this.range[0]) || n;
		this.range = [Math.min(n, other), Math.max(n, other)];
		this.refill();
		this.link();
	}

	link() {
		const [from, to] = this.range;
		history.replaceState(history.state, "", from === to ? `#log-${from}` : `#log-${from}-${to}`);
	}

	find(direction) {
		const text = this.input.value, line = /^:(\d+)$/.exec(text);
		if (line) {
			this.show(clamp(+line[1], 1, this.total));
			return this.link();
		}
		if (text && text !== this.text) this.search([text], text);
		if (!this.words) return;
		// What has come since the end was reached.
		if (!this.more && this.total > this.searched) this.more = Math.max(1, this.searched);
		const top = Math.ceil(this.v / ROW);
		this.go(this.hits[this.at] ?? (direction > 0 ? top : top + Math.floor(this.height / ROW)), direction);
	}

	firstError() {
		this.input.value = "";
		this.search(ERRORS, "");
		this.go(0, 1);
	}

	go(from, direction) {
		this.from = from;
		this.step(direction);
		this.scan();
	}

	search(words, text) {
		this.scanner?.abort();
		const escape = (word) => word.replace(/[\\^$.*+?()[\]{}|/]/g, "\\$&");
		Object.assign(this, { words, text, hits: [], at: -1, more: words && 1, searched: 0, wants: 0, scanner: null });
		this.pattern = words && new RegExp(`(${words.map(escape).join("|")})`, "iu");
		this.count.textContent = "";
		this.refill();
	}

	async scan() {
		if (this.scanner || !this.more) return;
		const abort = (this.scanner = new AbortController());
		const query = this.words.map((word) => "q=" + encodeURIComponent(word)).join("&");
		try {
			while (this.more && this.hits.length < HITS) {
				const total = this.total;
				const said = await this.ask(`search/?${query}&from=${this.more}`, abort);
				if (abort.signal.aborted) return;
				const last = this.hits.at(-1) ?? 0;
				for (const n of said.matches) if (n > last) this.hits.push(n);
				this.more = said.next;
				this.searched = total;
				this.step(this.wants);
			}
		} catch {
			if (!abort.signal.aborted) this.count.textContent = "The search failed";
		}
		if (this.scanner === abort) this.scanner = null;
	}

	// Goes to the next match, as soon as it is known which one that is.
	step(direction) {
		const { hits, from } = this;
		const more = this.more && hits.length < HITS;
		let at = direction > 0 ? hits.findIndex((n) => n > from) : hits.findLastIndex((n) => n < from);
		const known = !more || (at >= 0 && (direction > 0 || this.more > from));
		this.wants = known ? 0 : direction;
		if (direction && known && hits.length) {
			if (at < 0) at = direction > 0 ? 0 : hits.length - 1;
			this.at = at;
			this.show(hits[at]);
		}
		const found = `${this.at + 1} of ${hits.length}${this.more ? "+" : ""}`;
		this.count.textContent = this.at >= 0 ? found : more ? "Searching…" : "Not found";
	}
}

document.querySelectorAll("section.log").forEach((section) => new Log(section));
