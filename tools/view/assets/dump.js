'use strict';

// The page of one graph: a tree of layers whose rows are made when a layer is opened, filters, the
// details of one node, tables of weights, memory and ledger.

// Rows that a search opens by itself; what is found beyond them stays in closed layers.
const ROWS_OPENED_BY_SEARCH = 400;

const page = readData();
const raw = page.graph;
page.graph = readGraph(raw);
page.returns = new Set(raw.returns);
page.weightOf = new Map(page.weights.map((weight) => [weight[0], weight]));
page.statsOf = new Map((page.stats || []).map((stats) => [stats[0], stats]));
page.bufferOf = new Map();
page.stepsOf = new Map();
page.ledgerOf = new Map();
if (page.memory) {
  for (const buffer of page.memory.buffers) page.bufferOf.set(buffer[1], buffer);
  for (const [value, row] of page.memory.views) page.bufferOf.set(value, page.memory.buffers[row]);
}
for (const step of page.steps || []) {
  for (const value of step[2]) {
    if (!page.stepsOf.has(value)) page.stepsOf.set(value, []);
    page.stepsOf.get(value).push(step);
  }
}
for (const entry of page.ledger) {
  if (!page.ledgerOf.has(entry[1])) page.ledgerOf.set(entry[1], []);
  page.ledgerOf.get(entry[1]).push(entry);
}

const byId = (id) => document.getElementById(id);
const tree = byId('tree');
const details = byId('details');
const search = byId('search');
const state = {
  words: [],
  op: null,
  chosen: null
};

// Rows

// "%3.q" with its layer set back, so that roles line up.
function nameCell(ref) {
  const match = /^([%@](?:\d+\.|blk\.\d+\.)?)(.*)$/s.exec(ref);
  return el('span', {title: ref}, el('span', {class: 'quiet'}, match[1]), match[2]);
}

const short = (ref, layer) =>
    (layer >= 0 ? ref.replace(`%${layer}.`, '%').replace(`@blk.${layer}.`, '@') : ref);

function badValues(values) {
  const bad = values.some((value) => {
    const stats = page.statsOf.get(value.id);
    return stats && (stats[9] || stats[10]);
  });
  return bad ? el('span', {class: 'warn'}, '! NaN or Inf  ') : null;
}

function nodeRow(node) {
  const operands = node.operands.filter(Boolean).map((value) => short(value.ref, node.layer));
  const attrs = node.attrs.map(([name, value]) => `${name}=${value}`).join(' ');
  return el(
      'div',
      {class: 'node', role: 'treeitem', tabindex: -1, 'aria-selected': false, 'data-ref': node.ref},
      nameCell(node.ref), el('span', {class: 'op'}, node.op),
      el('span', {}, node.results.map((value) => value.type).join(' ')),
      el('span', {class: 'operands'}, badValues(node.results), operands.join(' '),
         el('span', {class: 'quiet'}, attrs && `  ${attrs}`)));
}

function valueRow(value) {
  return el(
      'div', {
        class: 'node',
        role: 'treeitem',
        tabindex: -1,
        'aria-selected': false,
        'data-ref': value.ref
      },
      nameCell(value.ref), el('span', {class: 'quiet'}, VALUE_KINDS[value.kind]),
      el('span', {}, value.type),
      el('span', {class: 'operands quiet'}, plural(value.users.length, 'user')));
}

// Sections

function makeSection(name, items, {noun, note, layer}) {
  const far = el('span', {class: 'far quiet'}, note || '');
  const count = el('span', {class: 'quiet'});
  const alike = el('span', {class: 'quiet'});
  const id = `section-${tree.childElementCount}`;
  const head = el('div', {class: 'head', id}, el('span', {class: 'name'}, name), count, alike, far);
  const group = el('div', {role: 'group'});
  const element =
      el('div', {
        class: 'section',
        role: 'treeitem',
        tabindex: -1,
        'aria-expanded': false,
        'aria-labelledby': id
      },
         head, group);
  group.hidden = true;
  tree.append(element);
  return {element, group, count, alike, items, noun, layer, open: false, rows: null};
}

function weightBytes(nodes) {
  let bytes = 0;
  for (const node of nodes) {
    for (const value of node.operands) {
      const weight = value && value.kind === 1 && page.weightOf.get(value.id);
      if (weight) bytes += weight[5];
    }
  }
  return bytes ? `${bytesText(bytes)} weights` : '';
}

function makeSections() {
  const given = [...raw.params, ...raw.caches].map((id) => page.graph.values[id]);
  const sections = [];
  if (given.length) {
    sections.push(makeSection('inputs', given, {noun: 'value', layer: -1}));
  }
  const shapes = new Map();
  let layers = 0;
  const grouped = byLayer(page.graph.nodes, (node) => node.layer);
  for (const {layer, items} of grouped) {
    const name = layer >= 0 ? `layer ${layer}` : layers ? 'output' : 'embedding';
    const section = makeSection(
        grouped.length === 1 && layer < 0 ? 'nodes' : name, items,
        {noun: 'node', note: weightBytes(items), layer});
    if (layer >= 0) {
      layers += 1;
      const shape = layerShape(items, layer);
      if (shapes.has(shape))
        section.alike.textContent = `as layer ${shapes.get(shape)}`;
      else
        shapes.set(shape, layer);
    }
    sections.push(section);
  }
  return sections;
}

const sections = makeSections();
const sectionOf = new Map(sections.map((section) => [section.element, section]));

function setOpen(section, open) {
  section.open = open;
  section.element.setAttribute('aria-expanded', String(open));
  section.group.hidden = !open;
  if (open) fill(section);
}

function fill(section) {
  if (!section.rows) {
    section.rows =
        new Map(section.items.map((item) => [item, item.line ? nodeRow(item) : valueRow(item)]));
    section.group.append(...section.rows.values());
  }
  for (const [item, row] of section.rows) {
    row.hidden = !keeps(item);
    row.setAttribute('aria-selected', String(row.dataset.ref === state.chosen));
  }
}

// Filters

const filtered = () => state.words.length > 0 || state.op !== null;

function keeps(item) {
  if (!filtered()) return true;
  if (state.op !== null && item.op !== state.op) return false;
  if (!item.haystack) {
    item.haystack =
        (item.line || `${item.ref} ${VALUE_KINDS[item.kind]} ${item.type}`).toLowerCase();
  }
  return state.words.every((word) => item.haystack.includes(word));
}

function applyFilter() {
  let found = 0;
  let places = 0;
  for (const section of sections) {
    const kept = section.items.filter(keeps).length;
    section.element.hidden = kept === 0;
    section.count.textContent = kept === section.items.length ?
        plural(kept, section.noun) :
        `${kept} of ${plural(section.items.length, section.noun)}`;
    if (filtered() && kept > 0) {
      if (found < ROWS_OPENED_BY_SEARCH)
        setOpen(section, true);
      else
        setOpen(section, false);
    } else if (section.open) {
      fill(section);
    }
    found += kept;
    places += kept > 0 ? 1 : 0;
  }
  byId('count').textContent = filtered() ?
      (found ? `${withCommas(found)} found in ${plural(places, 'place')}` : 'nothing found') :
      '';
  enterAt(tree.querySelector('.section:not([hidden])'));
}

// Which item the Tab key reaches: the one it reached before, unless that is gone.
function enterAt(item) {
  const before = tree.querySelector('[role="treeitem"][tabindex="0"]');
  if (before && keys.shown().includes(before)) return;
  if (before) before.tabIndex = -1;
  if (item) item.tabIndex = 0;
}

function clearFilter() {
  search.value = '';
  state.words = [];
  chooseOp(null);
}

search.addEventListener('input', () => {
  state.words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
  applyFilter();
});
byId('search-form').addEventListener('submit', (event) => {
  event.preventDefault();
  const first = keys.shown().find((item) => !sectionOf.has(item));
  if (first) keys.focus(first);
});

function chooseOp(op) {
  state.op = op;
  for (const button of byId('operators').children) {
    button.setAttribute('aria-pressed', String(button.dataset.op === op));
  }
  applyFilter();
}

function listOperators() {
  const counts = new Map();
  for (const node of page.graph.nodes) counts.set(node.op, (counts.get(node.op) || 0) + 1);
  const sorted = [...counts].sort(([a], [b]) => (a < b ? -1 : 1));
  byId('operators')
      .append(...sorted.map(
          ([op, count]) =>
              el('button', {
                type: 'button',
                class: 'choice',
                'aria-pressed': false,
                'data-op': op,
                onclick: () => chooseOp(state.op === op ? null : op),
              },
                 op, el('span', {class: 'quiet'}, withCommas(count)))));
}

// Details

const contentOf = detailsPanel(page, choose);

function choose(ref) {
  const value = page.graph.byRef.get(ref);
  if (!value) return;
  show('Graph');
  const item = value.producer || value;
  state.chosen = item.ref;
  details.replaceChildren(
      el('div', {class: 'title'}, el('h2', {tabindex: -1}, item.ref),
         el('button', {type: 'button', onclick: closeDetails, 'aria-label': 'Close details'}, '✕')),
      ...contentOf(value));
  details.hidden = false;
  details.scrollTop = 0;
  byId('columns').classList.add('with-details');
  if (!keeps(item) && sections.some((section) => section.items.includes(item))) clearFilter();
  reveal(item);
  if (location.hash !== '#' + encodeURIComponent(ref)) {
    history.pushState(null, '', '#' + encodeURIComponent(ref));
  }
}

// Opens the item's section and scrolls to its row; weights have none.
function reveal(item) {
  for (const section of sections) {
    const holds = item.line ? section.layer === item.layer && section.items.includes(item) :
                              section.items.includes(item);
    if (holds && !section.open)
      setOpen(section, true);
    else if (section.open)
      fill(section);
    const row = holds && section.rows.get(item);
    if (row) row.scrollIntoView({block: 'nearest'});
  }
}

function closeDetails() {
  const row = tree.querySelector('.node[aria-selected="true"]');
  state.chosen = null;
  details.hidden = true;
  byId('columns').classList.remove('with-details');
  history.replaceState(null, '', '#');
  if (!row) return;
  row.setAttribute('aria-selected', 'false');
  keys.focus(row);
}

const keys = treeKeys(tree, {
  toggle: (item, open) => setOpen(sectionOf.get(item), open),
  choose: (item) => {
    const section = sectionOf.get(item);
    if (section)
      setOpen(section, !section.open);
    else
      choose(item.dataset.ref);
  },
});

document.addEventListener('keydown', (event) => {
  const typing = event.target === search;
  if (event.key === '/' && !typing && !event.target.closest('select')) {
    show('Graph');
    search.focus();
    search.select();
    event.preventDefault();
  } else if (event.key === 'Escape') {
    if (typing && search.value) {
      search.value = '';
      search.dispatchEvent(new Event('input'));
    } else if (!details.hidden) {
      closeDetails();
    }
    event.preventDefault();
  } else if (event.key === 'ArrowDown' && typing) {
    keys.focus(tree.querySelector('[role="treeitem"]:not([hidden])'));
    event.preventDefault();
  }
});
// A link to one node is the page's address with its name behind a "#".
function followHash() {
  const hash = location.hash.slice(1);
  if (!hash && !details.hidden) closeDetails();
  const value = page.graph.values.find(({ref}) => encodeURIComponent(ref) === hash);
  if (value) choose(value.ref);
}
window.addEventListener('popstate', followHash);

byId('open-all')
    .addEventListener('click', () => sections.forEach((section) => setOpen(section, true)));
byId('close-all')
    .addEventListener('click', () => sections.forEach((section) => setOpen(section, false)));

// Tables

function buildWeights(root) {
  const uses = (weight) => (weight[0] < 0 ? [] : page.graph.values[weight[0]].users);
  const byType = new Map();
  for (const [, , type, , , bytes] of page.weights) {
    const dtype = type.slice(0, type.indexOf('['));
    const sum = byType.get(dtype) || [dtype, 0, 0];
    byType.set(dtype, [dtype, sum[1] + 1, sum[2] + bytes]);
  }
  root.append(
      sortableTable(
          'By type',
          [
            {name: 'type', key: (row) => row[0]},
            {name: 'tensors', number: true, key: (row) => row[1]},
            {name: 'bytes', number: true, key: (row) => row[2], cell: (row) => withCommas(row[2])},
          ],
          [...byType.values()].sort((a, b) => b[2] - a[2])),
      sortableTable(
          `Tensors of ${page.files.map((file) => file[0]).join(', ')}`,
          [
            {
              name: 'name',
              key: (w) => w[1],
              cell: (w) => (w[0] < 0 ? w[1] : refLink(w[1], choose))
            },
            {name: 'type', key: (w) => w[2]},
            ...(page.files.length > 1 ? [{name: 'file', number: true, key: (w) => w[3] + 1}] : []),
            {name: 'offset', number: true, key: (w) => w[4], cell: (w) => withCommas(w[4])},
            {name: 'bytes', number: true, key: (w) => w[5], cell: (w) => withCommas(w[5])},
            {
              name: 'used by',
              key: (w) => uses(w).map((node) => node.ref).join(' '),
              cell: (w) =>
                  el('span', {}, ...uses(w).flatMap((node) => [refLink(node.ref, choose), ' ']))
            },
          ],
          page.weights));
  if (page.ignored.length) {
    root.append(sortableTable(
        'Tensors of the file that the graph rightly does not use',
        [
          {name: 'name', key: (row) => row[0]},
          {name: 'reason', key: (row) => row[1]},
        ],
        page.ignored));
  }
}

function buildLedger(root) {
  if (page.passes.length) {
    root.append(sortableTable(
        'Passes, in order',
        [
          {name: 'pass', key: (p) => p[0]},
          {name: 'result', key: (p) => (p[1] ? 'changed' : 'unchanged')},
          {name: 'nodes before', number: true, key: (p) => p[2]},
          {name: 'after', number: true, key: (p) => p[3]},
          {name: 'ms', number: true, key: (p) => p[4], cell: (p) => p[4].toFixed(3)},
        ],
        page.passes));
  }
  root.append(sortableTable(
      'What passes did, and what they did not and why',
      [
        {
          name: 'node',
          key: (e) => e[1],
          cell: (e) => (page.graph.byRef.has(e[1]) ? refLink(e[1], choose) : e[1])
        },
        {
          name: 'layer',
          number: true,
          key: (e) => e[2],
          cell: (e) => (e[2] < 0 ? '' : String(e[2]))
        },
        {name: 'result', key: (e) => (e[3] ? '✓ matched' : '✗ rejected')},
        {name: 'pass', key: (e) => e[0]},
        {name: 'reason', key: (e) => e[4]},
      ],
      page.ledger));
}

// Start

byId('title').textContent = page.title;
showFacts(
    byId('facts'),
    [...page.facts, ['graph', page.stage], ...(page.run || []), ['by', page.producer]]);
byId('symbols').append(
    pairs(raw.symbols.map(([name, min, max]) => [name, `${min} .. ${withCommas(max)}`])));
listOperators();
const panels = [{name: 'Graph', panel: byId('graph'), build: () => {}}];
if (page.weights.length)
  panels.push({name: 'Weights', panel: byId('weights'), build: buildWeights});
if (page.memory) {
  panels.push(
      {name: 'Memory', panel: byId('memory'), build: (root) => buildMemory(root, page, choose)});
}
if (page.ledger.length || page.passes.length) {
  panels.push({name: 'Ledger', panel: byId('ledger'), build: buildLedger});
}
const show = tabs(byId('tabs'), panels);
for (const section of sections) {
  if (section.layer < 0 && section.noun === 'node') setOpen(section, true);
}
applyFilter();
followHash();
