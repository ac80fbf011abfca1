// Live pages, keys, copying. Everything here is a convenience: pages can be read without.
'use strict';

// A page that shows what changes is told so, fetches itself again and shows the difference. It stops while nobody looks.
function live(address) {
  let source = null, timer = null, busy = false, again = false;
  async function refresh() {
    if (busy) { again = true; return; }
    busy = true;
    try {
      const response = await fetch(location.href, { headers: { accept: 'text/html' } });
      if (response.ok && !response.redirected) {
        const fresh = new DOMParser().parseFromString(await response.text(), 'text/html');
        // A log has begun, or is at its end: it has a script of its own, which begins with the page.
        if (!document.querySelector('[data-keep]') && fresh.querySelector('[data-keep]')) { location.reload(); return; }
        Idiomorph.morph(document.getElementById('main'), fresh.getElementById('main'), {
          ignoreActiveValue: true,
          callbacks: {
            beforeNodeMorphed: (old) => !(old instanceof Element && (old.hasAttribute('data-keep') || filled(old))),
            // What has just been said stays until the next page.
            beforeNodeRemoved: (old) => !(old instanceof Element && old.hasAttribute('data-said')),
            beforeAttributeUpdated: (name) => name !== 'open',
          },
        });
      }
    } catch {
      // The network is away; the next change or look tries again.
    }
    busy = false;
    if (again) { again = false; soon(); }
  }
  function soon() {
    if (!timer) timer = setTimeout(() => { timer = null; refresh(); }, 300);
  }
  function watch() {
    if (document.hidden) {
      source?.close();
      source = null;
    } else if (!source) {
      source = new EventSource(address);
      // The first one says that the stream is open: what changed before is fetched as well.
      source.addEventListener('changed', soon);
    }
  }
  // Time passes without news, too.
  setInterval(() => { if (!document.hidden) soon(); }, 15000);
  document.addEventListener('visibilitychange', watch);
  addEventListener('pagehide', () => source?.close());
  watch();
}

// What somebody has filled in and not yet sent is theirs.
function filled(field) {
  return ('defaultValue' in field && field.value !== field.defaultValue) ||
    ('defaultChecked' in field && field.checked !== field.defaultChecked);
}

// One key, or "g" and another, goes where the element with these keys goes.
function keys() {
  let before = '';
  addEventListener('keydown', (event) => {
    if (event.ctrlKey || event.altKey || event.metaKey || event.defaultPrevented) return;
    if (event.target.closest('input, textarea, select, [contenteditable]')) {
      if (event.key === 'Escape') event.target.blur();
      return;
    }
    const key = event.key;
    const pair = before + ' ' + key;
    before = before ? '' : key;
    if (key === '?') { help(); return; }
    if (key === 'j' || key === 'k') { row(key === 'j' ? 1 : -1); return; }
    for (const found of document.querySelectorAll('[data-key]')) {
      if (found.dataset.key === key || found.dataset.key === pair) {
        event.preventDefault();
        if (found.matches('input')) { found.focus(); found.select(); } else found.click();
        before = '';
        return;
      }
    }
    if (key !== 'g') before = '';
  });
}

// The links of a list's rows, one after the other.
function row(step) {
  const links = [...document.querySelectorAll('table.list tbody tr a:first-of-type')];
  const rows = links.filter((link, index) => index === 0 || link.closest('tr') !== links[index - 1].closest('tr'));
  const at = rows.findIndex((link) => link.closest('tr').contains(document.activeElement));
  rows[Math.min(rows.length - 1, Math.max(0, at + step))]?.focus();
}

function help() {
  document.querySelector('dialog.keys')?.remove();
  const dialog = document.createElement('dialog');
  dialog.className = 'keys';
  const title = document.createElement('h2');
  title.textContent = 'Keys';
  dialog.append(title);
  const list = document.createElement('dl');
  list.className = 'facts';
  const entries = [...document.querySelectorAll('[data-key]')].map((element) =>
    [element.dataset.key, (element.dataset.keyName || element.labels?.[0]?.textContent || element.textContent).trim()]);
  entries.push(['j k', 'Next and previous row'], ['?', 'This list']);
  for (const [key, name] of entries) {
    const term = document.createElement('dt');
    for (const one of key.split(' ')) {
      const kbd = document.createElement('kbd');
      kbd.textContent = one;
      term.append(kbd, ' ');
    }
    const description = document.createElement('dd');
    description.textContent = name;
    list.append(term, description);
  }
  const close = document.createElement('button');
  close.textContent = 'Close';
  close.addEventListener('click', () => dialog.close());
  dialog.append(list, close);
  document.body.append(dialog);
  dialog.showModal();
}

document.addEventListener('click', async (event) => {
  const copy = event.target.closest('[data-copy]');
  if (!copy) return;
  await navigator.clipboard.writeText(document.getElementById(copy.dataset.copy).textContent);
  copy.textContent = 'Copied';
});

document.addEventListener('submit', (event) => {
  const question = event.submitter?.dataset.confirm;
  if (question && !confirm(question)) event.preventDefault();
});

// What is not filled in need not be in an address that people keep.
document.addEventListener('formdata', (event) => {
  if (event.target.method !== 'get') return;
  for (const [name, value] of [...event.formData]) if (value === '') event.formData.delete(name);
});

// A choice that changes the rest of a form or a list takes effect at once.
document.addEventListener('change', (event) => {
  if (event.target.matches('[data-submit]')) event.target.form.requestSubmit();
});

keys();
if (document.body.dataset.live) live(document.body.dataset.live);
